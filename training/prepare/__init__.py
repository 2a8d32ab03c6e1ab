"""Puts pictures of cards into the layout that a classifier is trained from, and says what they are like.

    python -m training.prepare DATA/base --out DATA/base-cards [--height 512]

The source is a download (`python -m training.download`), a manifest, or a folder: pictures, each a card, or a folder of
pictures for each card; of folders in folders, `base1/4/` is card `base1-4`. The result is

| file | what |
|---|---|
| `CARD/1.png`, `CARD/2.jpg`, ... | the pictures of a card: the source's own files, linked, or scaled to `--height` |
| `cards.jsonl` | a line a picture: `card_id`, `image`, `sha256`, `bytes`, `width`, `height`, `source`, metadata |
| `duplicates.csv` | pairs of cards that look the same, as `duplicates` of a training's config reads it |
| `report.md`, `report.json` | how many, which sizes and modes; what is damaged, doubled, or belongs to no card |

A folder's name is the card's id, but for characters that file systems refuse (`training/download/names.py`). Each file
of the source is in the layout or named in the report; none is changed or removed. What is linked is one file under two
names: who edits pictures in place takes `--copy`. The result appears whole, in place of
an earlier one, or not at all.
"""
