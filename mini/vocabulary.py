"""The words of the drawn world, and what they stand for."""

from __future__ import annotations

from dataclasses import dataclass

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that can be drawn. icon: its name in the icon packages (CLDR's)."""

    word: str
    icon: str
    synonyms: tuple[str, ...] = ()


def _nouns(table: str) -> tuple[Noun, ...]:
    """A line is `word[/synonym ...] [= icon]`; the icon has the word's name when left out."""
    nouns = []
    for line in filter(None, map(str.strip, table.splitlines())):
        names, _, icon = line.partition("=")
        word, *synonyms = (name.strip() for name in names.split("/"))
        nouns.append(Noun(word, icon.strip() or word.replace(" ", "-"), tuple(synonyms)))
    return tuple(nouns)


# Chosen by eye among some 860: those that stay apart in every set at 40 px, recoloured too. Peach,
# tangerine and tomato are an apple once tinted; a broom and a trumpet break at this size.
NOUNS = _nouns("""
    dog/puppy
    cat/kitten
    wolf
    fox
    bear
    panda
    rabbit/bunny = rabbit-face
    lion
    tiger = tiger-face
    cow = cow-face
    pig = pig-face
    frog
    penguin
    owl
    chicken/hen
    duck
    fish = tropical-fish
    octopus
    whale = spouting-whale
    turtle/tortoise
    snail
    butterfly
    ladybug/beetle = lady-beetle
    elephant
    snake
    crab
    unicorn
    cactus
    rose
    sunflower
    mushroom/toadstool
    pine/fir = evergreen-tree
    palm = palm-tree
    leaf = maple-leaf
    blossom/flower = cherry-blossom
    apple = red-apple
    banana
    watermelon
    strawberry
    grapes
    cherries
    pineapple
    pear
    avocado
    eggplant/aubergine
    carrot
    pepper/chili = hot-pepper
    pizza
    burger/hamburger = hamburger
    cake = birthday-cake
    doughnut/donut
    icecream = soft-ice-cream
    coffee/cup = hot-beverage
    teapot
    box/package/parcel = package
    gift/present = wrapped-gift
    book = closed-book
    purse
    bag/handbag = handbag
    backpack/rucksack
    shirt = t-shirt
    dress
    shoe/sneaker = running-shoe
    hat = top-hat
    crown
    umbrella
    guitar
    drum
    camera
    phone/smartphone = mobile-phone
    television/tv = television
    bulb/lamp = light-bulb
    key
    clock/alarm = alarm-clock
    candle
    balloon
    teddy/teddybear = teddy-bear
    doll = nesting-dolls
    ghost
    robot
    skull
    alien
    snowman
    pumpkin = jack-o-lantern
    car/automobile = automobile
    bus
    bicycle/bike = bicycle
    airplane/plane = airplane
    rocket/spaceship
    boat/sailboat = sailboat
    house/home = house
    castle
    tent
    star
    heart = red-heart
    moon = crescent-moon
    sun = sun-with-face
    cloud
    flame/fire = fire
    lightning/bolt = high-voltage
    anchor
    trophy
    football = soccer-ball
    gem/diamond = gem-stone
    bell
    chair
""")

STYLE_WORDS = {  # a set's name in `artwork.SETS` to what captions call its look
    "noto": ("noto",),
    "flat": ("flat",),
    "glossy": ("glossy",),
    "twemoji": ("twemoji",),
    "noto-v1": ("classic",),
    "emojione": ("emojione",),
    "fxemoji": ("fxemoji",),
}
STYLES = tuple(STYLE_WORDS)

# What a tinted drawing is painted in: its shadow, its middle and its light.
COLOURS: dict[str, tuple[RGB, RGB, RGB]] = {
    "red": ((110, 5, 15), (222, 28, 40), (255, 150, 150)),
    "orange": ((140, 55, 0), (247, 130, 20), (255, 205, 140)),
    "yellow": ((150, 115, 0), (250, 215, 30), (255, 246, 170)),
    "green": ((5, 75, 20), (40, 165, 60), (165, 230, 160)),
    "blue": ((10, 25, 110), (35, 90, 225), (150, 190, 255)),
    "purple": ((60, 10, 100), (135, 50, 195), (215, 165, 250)),
    "pink": ((165, 40, 100), (250, 130, 185), (255, 215, 235)),
    "brown": ((50, 25, 10), (125, 75, 40), (200, 160, 125)),
    "black": ((5, 5, 8), (38, 38, 44), (115, 115, 125)),
    "white": ((160, 160, 168), (243, 243, 246), (255, 255, 255)),
    "gray": ((55, 55, 58), (125, 125, 128), (185, 185, 188)),
    "golden": ((105, 65, 0), (212, 160, 35), (255, 245, 195)),
    "silver": ((70, 85, 105), (165, 185, 205), (250, 253, 255)),
    "teal": ((0, 65, 70), (15, 150, 150), (150, 225, 220)),
}
COLOUR_SYNONYMS = {"golden": ("gold",), "gray": ("grey",), "teal": ("turquoise",)}
PATTERNS = {  # worn by the object; the word and its synonyms
    "polka dot": ("polka dot", "spotted"),
    "striped": ("striped",),
    "tartan": ("tartan", "plaid"),
}
SIZES = {"small": 26, "medium": 40, "large": 56}  # px of 64; medium is never said
SIZE_SYNONYMS = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}

# Golden and silver are a drawing's sheen, which a flat ground has not.
GROUND_COLOURS = tuple(word for word in COLOURS if word not in ("golden", "silver"))
TEXTURES = ("striped", "dotted", "checkered")
SCENES = {
    "desert": "in the desert",
    "beach": "on the beach",
    "forest": "in the forest",
    "night": "at night",
    "snow": "in the snow",
    "city": "in the city",
    "field": "in a field",
}
