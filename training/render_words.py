"""The words on the fictional cards: names, rules and sayings, from lists and syllables made up for the game."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["KINDS", "Words", "artist", "name_card", "name_set", "rules", "to_vx"]

KINDS = ("Beast", "Hero", "Spell", "Relic", "Place", "Spirit")


def _words(text: str) -> list[str]:
    return text.split()


ADJECTIVES = _words("""
    Ashen Brazen Cinder Dusk Ember Frost Gilded Hollow Iron Jade Kindled Lunar Moss Nether Opal Pale Quiet Rust
    Silver Thorn Umbral Verdant Wandering Ancient Broken Coral Drowned Eager Feral Glass Humming Ivory Lost
    Molten Nimble Salt Restless Sunken Tidal Veiled Winter Amber Blind Crooked Velvet Stormborn Thrice-Bound
    Sleepless Copper Paper Candle
""")
NOUNS = {
    "Beast": """
    Prowler Otter Basilisk Hound Stag Moth Drake Toad Lynx Crawler Heron Boar Wyrmling Newt Badger Kestrel
    Mantis Hare Serpent Ox Marten Tortoise Gull Leech Ibex Cub
""",
    "Hero": """
    Warden Piper Cartographer Duelist Herbalist Ferryman Oracle Smith Lancer Thief Envoy Beekeeper Scribe Keeper
    Marshal Diver Falconer Apprentice Regent Lamplighter Tinker Exile
""",
    "Spell": """
    Surge Verdict Lullaby Eclipse Bargain Torrent Spark Unweaving Echo Bloom Reckoning Fever Gale Mirror Toll
    Riddle Kindling Thaw Omen Cascade Hush Rite
""",
    "Relic": """
    Chalice Blade Lantern Compass Crown Hourglass Anvil Mask Key Loom Flute Idol Gauntlet Astrolabe Bell Quill
    Engine Locket Spindle Abacus Shield Vial
""",
    "Place": """
    Spire Harbor Hollow Causeway Orchard Observatory Gate Marsh Archive Quarry Terrace Lighthouse Crypt Mill
    Reef Bazaar Aqueduct Bastion Glade Summit Vault Cloister
""",
    "Spirit": """
    Wisp Shade Whisper Herald Revenant Lament Guide Choir Watcher Sigh Phantom Memory Guest Flicker Muse Warder
    Dreamer Kin Hunger Vow Reflection
""",
}  # fmt: skip
ONSETS = _words("b br c cal d dr el f g gr h il jor k kel l m mar n or p qu r s sel t th tor u v vel w y z")
NUCLEI = _words("a ae e ei i ia o oa u y")
CODAS = _words("l m n r s th nn rn sk x ll dor mir wyn dal ven ris")
ERAS = _words("Dawn Tides Embers Echoes Roots Shards Winds Vaults Songs Ruins Lanterns Oaths Storms Harvest Mirrors")
EFFECTS = (
    "When {name} enters, look at the top {n} cards of your library and keep one.",
    "Draw {n} cards, then discard a card.",
    "Each {kind} of yours gains +{n} might until the end of the round.",
    "Deal {n}0 damage to a rival of your choice.",
    "Flip a coin. If it shows the crown, repeat this {n} times.",
    "Pay {n} ember: move {name} to an empty row.",
    "Rivals opposite {name} cannot retreat.",
    "At dusk, place a tide counter here. With {n} counters, wake it.",
    "Return a {kind} from your ashes to your hand.",
    "Guard. Swift. Costs {n} less if a {kind} fell this round.",
    "Each player gives away a card. Those who cannot lose {n} will.",
    "Sleep until a bell is rung.",
    "Choose one: heal {n}0, or wake a {kind}.",
    "Whenever you cast a Spell, {name} gains a spark.",
)
SAYINGS = (
    "The tide keeps what the tide was promised.",
    "Nobody asked the lantern what it saw.",
    "It hums in an older key.",
    "She paid in winters and was given change in rain.",
    "Count your shadows before you leave.",
    "We built the gate. Then we forgot why.",
    "Every map of it is right, once.",
    "Even the moss leans away.",
    "Bring salt, bring rope, bring no names.",
    "He laughed, and the bells did not.",
    "Two roads go in. One remembers you.",
    "What sleeps here pays no rent.",
)
STRIKES = [
    "Claw",
    "Rush",
    "Bite",
    "Lash",
    "Howl",
    "Spit",
    "Gore",
    "Dive",
    "Coil",
    "Flare",
    "Prick",
    "Slam",
    "Roar",
    "Gust",
    "Glare",
    "Peck",
    "Burrow",
    "Shatter",
    "Pounce",
]
_VOWELS = str.maketrans("aeiouyAEIOUYbcdfghklmnprstvw", "oiauezOIAUEZvkthbgdrnmlsprzw")


def syllables(rng: np.random.Generator, count: int) -> str:
    """A made-up proper name."""
    text = "".join(str(rng.choice(ONSETS)) + str(rng.choice(NUCLEI)) for _ in range(count)) + str(rng.choice(CODAS))
    return text.capitalize()


def name_set(rng: np.random.Generator) -> str:
    """The name of a set, such as `Tides of Calaeth`."""
    era, place = str(rng.choice(ERAS)), syllables(rng, int(rng.integers(1, 3)))
    return [f"{era} of {place}", f"{place} {era}", f"{rng.choice(ADJECTIVES)} {era}"][int(rng.integers(3))]


def name_card(rng: np.random.Generator, kind: str) -> str:
    """The name of a card of one of the `KINDS`."""
    noun, adjective = str(rng.choice(NOUNS[kind].split())), str(rng.choice(ADJECTIVES))
    own = syllables(rng, int(rng.integers(1, 3)))
    forms = [f"{adjective} {noun}"] * 3
    forms += [
        f"{noun} of {own}",
        f"{own}'s {noun}",
        f"{own}, {adjective} {noun}",
        f"The {adjective} {noun}",
    ]
    return forms[int(rng.integers(len(forms)))]


def to_vx(text: str) -> str:
    """English in the second language: vowels and consonants exchanged among themselves, so it can be spoken."""
    return text.translate(_VOWELS)


@dataclass(frozen=True, slots=True)
class Words:
    """What one card says, in its language, besides its name and numbers."""

    line: str
    rules: tuple[str, ...]
    flavour: str
    strikes: tuple[tuple[str, str], ...]


def rules(rng: np.random.Generator, kind: str, name: str, language: str) -> Words:
    """A type line, three rules, perhaps a saying, and two named strikes with their text."""

    def effect(text: str) -> str:
        return text.format(name=name.partition(",")[0], n=int(rng.integers(2, 6)), kind=str(rng.choice(KINDS)))

    effects = [effect(str(text)) for text in rng.choice(EFFECTS, 5, replace=False)]
    strikes = tuple((f"{rng.choice(ADJECTIVES)} {rng.choice(STRIKES)}", text) for text in effects[3:])
    said = str(rng.choice(SAYINGS)) if rng.random() < 0.6 else ""
    nature = str(rng.choice(ADJECTIVES)) if rng.random() < 0.7 else syllables(rng, 1)
    words = Words(f"{kind} - {nature}", tuple(effects[:3]), said, strikes)
    if language == "en":
        return words
    return Words(
        to_vx(words.line), tuple(map(to_vx, words.rules)), to_vx(said), tuple((to_vx(a), to_vx(b)) for a, b in strikes)
    )


def artist(rng: np.random.Generator) -> str:
    """Somebody who never lived."""
    return f"{syllables(rng, 1)} {syllables(rng, int(rng.integers(1, 3)))}"
