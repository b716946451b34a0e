"""The categories of Amazon Reviews 2023, as its files are named."""

from pathlib import Path
from typing import Final

CATEGORIES: Final = (
    "All_Beauty",
    "Amazon_Fashion",
    "Appliances",
    "Arts_Crafts_and_Sewing",
    "Automotive",
    "Baby_Products",
    "Beauty_and_Personal_Care",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Gift_Cards",
    "Grocery_and_Gourmet_Food",
    "Handmade_Products",
    "Health_and_Household",
    "Health_and_Personal_Care",
    "Home_and_Kitchen",
    "Industrial_and_Scientific",
    "Kindle_Store",
    "Magazine_Subscriptions",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Software",
    "Sports_and_Outdoors",
    "Subscription_Boxes",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Unknown",
    "Video_Games",
)
"""From https://amazon-reviews-2023.github.io, 33 categories and the rest."""


def category_of(path: Path) -> str | None:
    """Return the category that a file is named after, None when it is named after none.

    The rows of the 2023 files carry no category of their own, and 5-core files add `_5`.

    >>> category_of(Path("Gift_Cards.jsonl.gz")), category_of(Path("Software_5.json.gz")), category_of(Path("a.csv"))
    ('Gift_Cards', 'Software', None)
    """
    stem = path.name.partition(".")[0].removeprefix("reviews_").removesuffix("_5")
    return stem if stem in CATEGORIES and stem != "Unknown" else None
