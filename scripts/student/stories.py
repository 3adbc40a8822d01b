"""Wordings of the toy word problems: names, things and the sentences of each operation.

Sentences are written without their final full stop and with a lower-case start, because the
solution writer quotes them inside other sentences; `sentence` turns one into a question's
sentence. `{n}` is the operation's operand, `{a}` and `{b}` the factors of a product.
"""

from dataclasses import dataclass

NAMES = (
    ("Mia", "she"), ("Ella", "she"), ("Nora", "she"), ("Ruth", "she"), ("Zoe", "she"),
    ("Anna", "she"), ("Clara", "she"), ("Ivy", "she"), ("Leo", "he"), ("Tom", "he"),
    ("Omar", "he"), ("Ben", "he"), ("Sam", "he"), ("Hugo", "he"), ("Ravi", "he"), ("Max", "he"),
)  # fmt: skip
THINGS = (
    "stickers", "marbles", "shells", "coins", "cards", "beads", "buttons", "pencils",
    "stamps", "apples", "cookies", "books", "balloons", "stones", "pens", "toys",
)  # fmt: skip
BOXES = ("boxes", "bags", "jars", "baskets")
STORES = (
    ("library", "books"), ("bakery", "loaves"), ("farm", "eggs"), ("school", "chairs"),
    ("shop", "lamps"), ("garden", "roses"), ("museum", "tickets"), ("store", "bottles"),
)  # fmt: skip


@dataclass(frozen=True)
class Story:
    """One kind of story: how it starts, what can happen in it and what is asked."""

    name: str
    start: tuple[str, ...]
    """Openings that give the first amount, `{n}`."""
    product: tuple[str, ...]
    """Openings that give the first amount as `{a}` times `{b}`."""
    add: tuple[str, ...]
    sub: tuple[str, ...]
    mul: tuple[str, ...]
    div: tuple[str, ...]
    ask: str
    """What is asked, to follow "how many"."""
    price: tuple[str, ...] = ()
    """A last step that multiplies by a price, `{n}` dollars."""
    ask_price: str = ""
    noise: tuple[str, ...] = ()
    """Facts that change nothing; `{n}` is any number."""
    chain: bool = False
    """Whether every operation names a new person, compared with the one before."""


HOLDER = Story(
    name="holder",
    start=(
        "{who} has {n} {things}",
        "{who} starts the week with {n} {things}",
        "there are {n} {things} in the room of {who}",
    ),
    product=(
        "{who} has {a} {boxes} with {b} {things} in each",
        "{who} fills {a} {boxes} and puts {b} {things} into each",
    ),
    add=(
        "{he} buys {n} more {things}",
        "{friend} gives {him} {n} {things}",
        "{he} finds {n} {things} under the bed",
        "{he} gets {n} more {things} as a present",
    ),
    sub=(
        "{he} gives {n} {things} to {friend}",
        "{he} loses {n} of the {things}",
        "{he} sells {n} {things} at the market",
        "{he} throws away {n} old {things}",
    ),
    mul=(
        "a month later {he} has {n} times as many {things} as before",
        "{he} trades every one of the {things} for {n} new ones",
    ),
    div=(
        "{he} shares the {things} equally among {n} {boxes} and keeps only one of the {boxes}",
        "{he} splits the {things} into {n} equal piles and keeps just one pile",
    ),
    ask="{things} {who} has at the end",
    price=(
        "{he} sells all the {things} for {n} dollars each",
        "{he} gets {n} dollars for each of the {things}",
    ),
    ask_price="dollars {who} gets in total",
    noise=(
        "{who} is {n} years old",
        "the room of {who} has {n} shelves",
        "{friend} lives {n} streets away",
    ),
)

STORE = Story(
    name="store",
    start=(
        "a {place} has {n} {things}",
        "in the morning there are {n} {things} in the {place}",
    ),
    product=(
        "a {place} has {a} rows with {b} {things} in each row",
        "a {place} orders {a} crates with {b} {things} in each",
    ),
    add=(
        "a truck brings {n} more {things}",
        "{n} new {things} arrive on Monday",
        "the workers add {n} {things}",
    ),
    sub=(
        "{n} {things} are taken away",
        "visitors buy {n} of the {things}",
        "{n} {things} turn out to be damaged and are removed",
    ),
    mul=(
        "by the end of the month the {place} has {n} times as many {things} as before",
        "then the number of {things} becomes {n} times as large",
    ),
    div=(
        "the {things} are put into {n} equal groups and only one group stays in the {place}",
        "the {things} are divided equally among {n} rooms and only one room is counted",
    ),
    ask="{things} the {place} has in the end",
    price=("the {place} sells all the {things} for {n} dollars each",),
    ask_price="dollars the {place} gets in total",
    noise=(
        "the {place} opened {n} years ago",
        "the {place} has {n} windows",
        "{n} people work in the {place}",
    ),
)

MONEY = Story(
    name="money",
    start=(
        "{who} has saved {n} dollars",
        "{who} opens the piggy bank and finds {n} dollars",
    ),
    product=(
        "{who} works {a} hours and earns {b} dollars each hour",
        "{who} gets {b} dollars every week for {a} weeks",
    ),
    add=(
        "{he} earns {n} dollars by washing cars",
        "the grandmother of {who} gives {him} {n} dollars",
        "{he} gets {n} dollars back from the shop",
    ),
    sub=(
        "{he} spends {n} dollars on a new bag",
        "{he} pays {n} dollars for lunch",
        "{he} gives {n} dollars to {friend}",
    ),
    mul=("by summer {he} has {n} times as much money as before",),
    div=("{he} splits the money equally among {n} people and keeps one share",),
    ask="dollars {who} has in the end",
    noise=(
        "{who} is {n} years old",
        "the shop is open for {n} hours a day",
        "{friend} has {n} cousins",
    ),
)

CHAIN = Story(
    name="chain",
    start=("{who} collects {n} {things}", "{who} counts {n} {things}"),
    product=("{who} packs {a} {boxes} with {b} {things} in each",),
    add=("{next} has {n} more {things} than {who}",),
    sub=("{next} has {n} fewer {things} than {who}",),
    mul=("{next} has {n} times as many {things} as {who}",),
    div=("{who} has {n} times as many {things} as {next}",),
    ask="{things} {who} has",
    price=("{who} sells all of these {things} for {n} dollars each",),
    ask_price="dollars {who} gets in total",
    noise=("{who} is {n} years old", "{who} also owns {n} hats"),
    chain=True,
)

TRAIN = Story(
    name="train",
    start=(
        "a train leaves the first station with {n} passengers",
        "a ferry departs with {n} passengers on board",
    ),
    product=("each of the {a} coaches of a train carries {b} passengers",),
    add=(
        "at the next stop another {n} passengers get on",
        "in the city {n} people join the trip",
    ),
    sub=(
        "at the following stop {n} passengers get off",
        "near the lake {n} people leave the trip",
    ),
    mul=("at the border the crowd grows to {n} times its size",),
    div=("at the junction only one in every {n} passengers stays on board",),
    ask="passengers remain on board",
    price=("every passenger on board then pays {n} dollars",),
    ask_price="dollars are collected",
    noise=(
        "the trip takes {n} minutes",
        "the driver has worked there for {n} years",
        "there are {n} empty suitcases on board",
    ),
)

TANK = Story(
    name="tank",
    start=(
        "a water tank holds {n} litres at sunrise",
        "a farmer measures {n} litres in the tank",
    ),
    product=("a pump runs for {a} minutes and fills an empty tank with {b} litres a minute",),
    add=("rain adds {n} litres to it", "a second pump pours in {n} litres"),
    sub=("a leak drains {n} litres from it", "the cows drink {n} litres of it"),
    mul=("after the storm the tank contains {n} times that volume",),
    div=("the volume is then reduced to one part in {n}",),
    ask="litres are left in the tank",
    noise=(
        "the tank is {n} metres away from the house",
        "the farmer owns {n} goats",
        "the pump is {n} years old",
    ),
)

FAMILIAR = (HOLDER, STORE, MONEY, CHAIN)
"""The stories of the in-distribution levels."""
UNFAMILIAR = (TRAIN, TANK)
"""Stories that occur in the out-of-distribution level only."""


def sentence(clause: str) -> str:
    """The clause with a capital and a full stop."""
    return clause[0].upper() + clause[1:] + "."
