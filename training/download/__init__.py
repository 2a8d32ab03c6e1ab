"""Pictures and metadata of cards, from the places that publish them, into one folder.

    export POKEMONTCG_IO_API_KEY=...        # optional; without it 30 requests a minute, 1,000 a day
    python -m training.download pokemontcg --out DATA/base --set base1 --set base2
    python -m training.download pokemon-tcg-data CHECKOUT --out DATA/pokemon
    python -m training.download tcgdex CHECKOUT --out DATA/pokemon-de --language de
    python -m training.download scryfall --out DATA/magic --set neo

The folder then holds

| file | what |
|---|---|
| `images/` | one picture a card, named by its id (`names.py`) |
| `cards.jsonl` | a line a card: `card_id`, `image`, `sha256`, `bytes`, `image_url`, and what is known of the card |
| `failures.jsonl` | cards without a picture, and why; it is there only where there are any |
| `source.json` | where all this comes from, and what may be done with it |

`cards.jsonl` is what `cardrec index build`, `python -m training.prepare` and a training's config read. A second run
fetches what is missing, has changed at the source, or no longer has the bytes that its checksum was made of.
"""
