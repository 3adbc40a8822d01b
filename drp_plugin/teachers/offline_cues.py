"""The rule teacher's ear: what a clause of an R1-style trace is doing, by its wording."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_I = re.IGNORECASE

CHECK = re.compile(
    r"\b(?:double|re|cross)-?check|\b(?:let me|let's|I'?ll|I should|I can|want to|need to|try to"
    r"|just to)"
    r"(?: just| also| quickly| maybe| now| actually)*"
    r" (?:check|verify|confirm|make sure|be sure|be certain|be thorough|be safe|test (?:this|it"
    r"|that)"
    r"|recompute|recalculate|redo|re-?examine|re-?read|retrace|go (?:through|over) (?:it|this"
    r"|that|my|"
    r"the \w+|everything)(?: \w+){0,2} (?:again|once more)|count (?:again|them again)|"
    r"(?:think|go|look|read|compute|calculate|do|consider)(?: about| through| at| over| back)?"
    r"(?: it| this| that| the \w+| everything)?(?: \w+)? (?:again|once more|one more time"
    r"|differently))"
    r"|\bto (?:make sure|verify|double-?check|confirm|be sure|be thorough)\b|\bas a (?:check"
    r"|sanity)"
    r"|\bsanity check|\bchecking (?:this|that|my|if|again|the (?:answer|result))|\bverif(?:y|ying"
    r"|ication)\b"
    r"|\bplug(?:ging)?\b[^.]{0,40}\bback\b|\bsubstitut\w+[^.]{0,30}\bback\b"
    r"|\b(?:is|was) (?:that|this|it) (?:right|correct|really|true|accurate)|\bdoes (?:that|this"
    r"|it) make sense"
    r"|\bam I (?:sure|right|missing|correct)|\bdid I (?:miss|make|do|read|get|use|count)\b"
    r"|\bwork(?:ing)? backwards?\b|\bgo backwards\b|\bis (?:that|this) (?:all|everything)"
    r"|\bI wonder if\b|\bwait[, ]+(?:but )?(?:is|did|does|are|was|do|should|am|let me)\b",
    _I)
ALTERNATIVE = re.compile(
    r"\balternativ\w+\b|\banother (?:way|approach|method|thought|perspective|angle)\b"
    r"|\b(?:a )?different (?:way|approach|method|perspective|angle)\b|\bother (?:way|approach"
    r"|method)s?\b"
    r"|\b(?:can|could|might|try to) also (?:think|use|compute|calculate|solve|find|see|do"
    r"|check)", _I)
CONFIRM = re.compile(
    r"^(?:[\W_]*\b(?:yes|yep|yeah|okay|ok|so|and|right|good|great|perfect|cool|nice|indeed"
    r"|alright|which|that"
    r"|it|this|everything|all|hence|therefore|thus|again|exactly|correct|hmm)\b[\W_]*){0,4}"
    r"(?:(?:that|it|this|which|everything|they|all of \w+|that all|all)(?:'s|'re)? ?(?:is|are|all"
    r"|also|both|does|do|seems?(?: to be)?"
    r"|looks?|must be|should be|just)* ?(?:right|correct|good|fine|match(?:es)?|checks? out"
    r"|works?(?: out)?"
    r"|makes? sense|add(?:s)? up|consistent|the same|fits?|true|holds?|agree\w*|perfect|great"
    r"|confirm\w*"
    r"|straightforward|solid|reasonable|okay|ok|valid|accurate)\b"
    r"|(?:yes|yep|yeah|okay|ok|good|great|perfect|cool|nice|correct|exactly|right|got it|alright"
    r"|hmm+|same (?:answer|result|as before|thing)|so yes)\b[\W_]*$)",
    _I)
RETRACT = re.compile(
    r"\b(?:that|this|it)(?:'s| is| was|'d be)? ?(?:can't be|cannot be|isn't|is not|not|doesn't"
    r"|does not|wasn't"
    r"|seems) ?(?:be |look |seem |sound |quite |make )?(?:right|correct|sense|work\w*|add up"
    r"|possible|wrong|off|accurate)"
    r"|\b(?:that|this)(?:'s| is) (?:wrong|incorrect|impossible|a mistake|not (?:right|it))"
    r"|\bI (?:think I |must have |might have |may have |have |just )?(?:made|messed|mixed|mis\w+"
    r"|confused|was wrong|got it wrong)"
    r"(?: (?:a|an|up|some))?(?: \w+)?(?: (?:mistake|error|myself))?\b|\bscrap that|\bstart over\b"
    r"|\bnever ?mind\b"
    r"|\bconflicts?\b|\bcontradict\w*|\b(?:no|wait),? (?:wait|no|hold on|that)\b|\bdead end"
    r"|\bnot helpful"
    r"|\bgetting (?:confused|complicated|messy|nowhere)|\bthis (?:isn't|is not) (?:helping"
    r"|working)", _I)
IRRELEVANT = re.compile(
    r"\b(?:doesn't|does not|don't think (?:that|it|this)|won't|not) (?:really )?matters?\b"
    r"|\bchanges nothing"
    r"|\birrelevant|\bnot relevant|\bcan be ignored|\bdoesn't (?:change|affect)", _I)
GOAL = re.compile(
    r"\b(?:I|we) (?:need|have|want|am asked|are asked|'m asked|'m supposed|am supposed|should) to "
    r"(?:find|figure|determine|compute|calculate|solve|evaluate|simplify|express|prove|show|count"
    r"|write|get|expand|factor|convert)"
    r"|\b(?:problem|question|task)(?: is)? (?:asks?|asking|wants?|is)\b|\bI'?m (?:trying|supposed"
    r"|asked) to"
    r"|\blet (?:me|us|'s) (?:try to )?(?:find|figure out)\b", _I)
RESTATE = re.compile(
    r"\b(?:the )?(?:problem|question) (?:says|states|gives|tells|is about|mentions)"
    r"|\bI have this (?:problem|question)"
    r"|\bso I('ve| have) got|\brestate\b|\bread the (?:problem|question)|\bgiven (?:that|is|are)\b"
    r"|\b(?:we're|I'm|we are|I am|they've|they have) (?:told|given)\b|\bwhat (?:I|we) (?:know"
    r"|have)\b", _I)
PLAN = re.compile(
    r"\b(?:I|we) (?:need|have|should|can|could|must|might|will|'ll|want|would)(?: just| probably"
    r"| also| then| first)?"
    r" (?:to )?\w+|\blet me\b|\blet's\b|\bnext,? I|\bmy (?:plan|approach|next step)|\bthe (?:next"
    r"|first) step", _I)
META = re.compile(
    r"\bmakes? sense\b|\bgot it\b|\blet me (?:think|see|try|write|break|start|recall|clarify"
    r"|visuali[sz]e|figure"
    r"|approach|jot|note|look|go on|do that|do this|remember|parse|process|organi[sz]e|list"
    r"|tackle|work|read|consider|draw|sketch|picture|rephrase|restate|step|dive|begin|define"
    r"|denote|analy[sz]e|unpack|go|just|do it|compute|calculate|solve|find|make|use|set)\b"
    r"|\blet's (?:see|think|try|go|do|start|break|begin|tackle|write|dive|compute|calculate"
    r"|recall|solve)\b|\bI (?:think|guess|believe|wonder|hope|feel|suppose|remember|recall)\b"
    r"|\bI'?m (?:pretty |quite |fairly |a bit |a little |not |just |really |still )*(?:confident"
    r"|sure|confused|certain|stuck|thinking|getting|overthinking|overcomplicating|wondering"
    r"|curious)"
    r"|\bstep by step\b|\bone (?:step )?at a time\b|\b(?:should|seems?|looks?|sounds?|that's|it's"
    r"|is|be) (?:like |pretty |quite |fairly |simple |very |to be )*(?:easy|simple"
    r"|straightforward|careful|complicated|tricky|good|great|right|correct|interesting|helpful"
    r"|solid|reasonable|tough|hard|manageable|familiar|doable)\b"
    r"|\bhmm+\b|\bokay\b|\balright\b|\bsounds good|\bhold on\b|\bI should be careful"
    r"|\bnot too (?:bad|hard|complicated)|\bI don't see any|\bI (?:already|have) checked"
    r"|\bI used all|\bI can just go|\bhow (?:to|do I|can I|should I) |\bno worries|\bthat(?:'s"
    r"| is) (?:it|all|the (?:answer|case|key|same))\b|\bwhere (?:do|should) I (?:start|begin)"
    r"|\bas expected\b", _I)
CONCLUDE = re.compile(
    r"\b(?:final )?answer (?:is|should be|must be|would be|to (?:the|this) (?:problem"
    r"|question))\b|\\boxed|\bfinal answer\b"
    r"|\bin the end there (?:are|is)\b", _I)
STRONG = re.compile(r"\b(?:therefore|thus|hence|consequently|in conclusion|finally|in the end"
                    r"|overall|"
                    r"in total|all in all|putting it all together)\b", _I)
GUESS = re.compile(r"\b(?:maybe|perhaps|guess|might be|could be|suppose|supposing|if)\b"
                   r"|\?\s*$", _I)
SEQUENCE = re.compile(r"^\W*(?:so |okay,? |and |alright,? )*(?:first(?:ly| of all| off)?"
                      r"|second(?:ly)?|third(?:ly)?|next|then|"
                      r"now|after that|finally|to start|starting|moving on|step \d)\b", _I)
HEADING = re.compile(r"^\s*(?:#{1,6}\s|\*\*[^*\n]{1,80}\*\*:?\s*$)")

_MATH = re.compile(r"\d|[=<>≤≥+×÷·^√π∠°≠∈∞∑]|\\[a-zA-Z]+|\$"
                   r"|(?<![A-Za-z'])[b-hj-zB-HJ-Z](?![A-Za-z'])")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?")
_CONTENT = re.compile(r"[A-Za-z]{3,}")
_RELATION = re.compile(r"[=≈≤≥<>]")
_RESULTS = re.compile(r"(?:=|≈|\bis\b|\bare\b|\bequals?\b|\bgives?\b|\bgives us\b|\bget\b|\bbe\b"
                      r"|\bto\b|\bleaves?\b|\bmakes?\b|\bhas\b|\bhave\b)"
                      r"[\s$\\(\[]*(?:just |only |also |about |roughly |approximately "
                      r"|exactly )?[\s$\\(]*(-?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?)", _I)
_STOP_WORDS = """
the and that this with for are was were been have has had which will would should could
can not but from they them their there then than what when where who how why into each
per also just very more most some any all its our your you she his her him out one two
get got let now okay well need find calculate compute number because since therefore
thus hence about these those only does did doing
"""
STOP = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True)
class Clause:
    """A clause of T with what can be read off it alone."""

    text: str

    @cached_property
    def body(self) -> str:
        """The text without white space around it; of an endless one, its start and end."""
        return shortened(self.text.strip())

    @cached_property
    def math(self) -> bool:
        """Whether it holds a number, a formula or a variable."""
        return bool(_MATH.search(self.body))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Literals without thousands separators, in order."""
        return tuple(n.replace(",", "") for n in _NUMBER.findall(_plain(self.body)))

    @cached_property
    def results(self) -> frozenset[str]:
        """Numbers that stand where a result stands: behind `=`, "is", "gives" …"""
        found = _RESULTS.findall(_plain(self.body))
        return frozenset(number.replace(",", "").lstrip("-") for number in found)

    @cached_property
    def words(self) -> frozenset[str]:
        return content_words(self.body)

    @cached_property
    def equations(self) -> tuple[str, ...]:
        """Equations and relations without white space, to be compared."""
        found = []
        for part in re.split(r"[,;\n]", _plain(self.body)):
            if _RELATION.search(part):
                tight = re.sub(r"[\s$\\*]|left|right|text", "", part).strip(".:").lower()
                tight = re.sub(r"^[a-z',]{4,}|^(?:so|then|and|is)(?=\d)", "", tight)
                if len(tight) >= 3:
                    found.append(tight)
        return tuple(found)

    @cached_property
    def computes(self) -> bool:
        """Whether it holds an equation or states the outcome of an operation."""
        return bool(self.equations) or bool(self.results and len(self.numbers) > 1)


def shortened(text: str) -> str:
    """A text that every pattern can go through in no time; long ones lose their middle."""
    return text if len(text) <= 3000 else f"{text[:1500]} … {text[-1500:]}"


def content_words(text: str) -> frozenset[str]:
    """Words that carry meaning, in lower case, plurals cut."""
    return frozenset(w[:-1] if w.endswith("s") and len(w) > 4 else w
                     for w in map(str.lower, _CONTENT.findall(text)) if w not in STOP)


def _plain(text: str) -> str:
    text = re.sub(r"(?<=\d)(?:\{,\}|\\,|\\!)(?=\d)", "", text)
    return text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")


_OPERATIONS = (
    ("Multiplication", re.compile(r"[×*·]|\\times|\\cdot|\btimes\b|\bmultipl\w+|\bproduct\b"
            r"|\bdoubl\w+|\btwice\b", _I)),
    ("Division", re.compile(r"÷|\\div|\bdivid\w+|\bquotient\b|\bhalf of\b|(?<=\d) ?/ ?(?=\d)"
                            r"|\bper\b", _I)),
    ("Subtraction", re.compile(r"(?<=[\w)}]) ?[-−–] ?(?=[\d(\\a-zA-Z]{1,6}[^a-zA-Z]|\d)|\bminus\b"
            r"|\bsubtract\w*|\bdifference\b|\bfewer\b", _I)),
    ("Addition", re.compile(r"(?<=[\w)}]) ?\+ ?|\bplus\b|\badd(?:ing|ed)?\b|\bsum\b"
                            r"|\bin total\b", _I)),
)
_FORMULA = re.compile(r"\b(?:formula|theorem|identity|property|rule|law|definition|expected value"
                      r"|combination|permutation|factorial|binomial)\w*\b|\\binom|\\sqrt|\bC\("
                      r"|!", _I)
_SIMPLIFY = re.compile(r"\bsimplif\w+|\breduc\w+|\bcancel\w*|\bcombin(?:e|ing) like|\bexpand\w*"
                       r"|\bcommon denominator|\bfactor(?:s|ed|ing)?\b", _I)
_SOLVE = re.compile(r"\bsolv\w+|\bboth sides|\bisolat\w+|\bequation\b", _I)
_SUBSTITUTE = re.compile(r"\bplug\w*|\bsubstitut\w+", _I)
_COMPARE = re.compile(r"[<>≤≥≠]|\\leq?\b|\\geq?\b|\bgreater\b|\bless than\b|\blarger\b"
                      r"|\bsmaller\b|\bcompar\w+", _I)
_CASES = re.compile(r"\bcases?\b|\bpossib\w+", _I)
_INFER = re.compile(r"\b(?:so|because|since|therefore|thus|hence|means|implies|must)\b", _I)
_DEFINE = re.compile(r"\blet(?:'s)? (?:me )?(?:denote|call|define|say)\b|\blet [$\\(]*[a-zA-Z]\b"
                     r"|\bdenote\b|\brepresent\w*\b", _I)


def skill(text: str) -> str:
    """The mathematical skill, or the kind of talk, that a clause shows most."""
    text = shortened(text.strip())
    if CONCLUDE.search(text):
        return "Concluding"
    if CHECK.search(text):
        return "Checking"
    if RETRACT.search(text):
        return "Backtracking"
    math = bool(_MATH.search(text))
    if not math:
        if CONFIRM.match(text):
            return "Confirming"
        if GOAL.search(text) or RESTATE.search(text):
            return "Restating the problem"
        if ALTERNATIVE.search(text):
            return "Considering an alternative"
        if META.search(text) or text.rstrip().endswith("?"):
            return "Hesitating"
        return "Planning" if PLAN.search(text) else "Logical inference"
    if ALTERNATIVE.search(text):
        return "Considering an alternative"
    if RESTATE.search(text) or (GOAL.search(text) and "=" not in text):
        return "Restating the problem"
    if _DEFINE.search(text):
        return "Algebraic representation"
    if _SIMPLIFY.search(text):
        return "Simplifying"
    if _SUBSTITUTE.search(text):
        return "Substituting"
    if "=" in text or "≈" in text or re.search(r"\b(?:is|equals|gives|get)\b", text):
        for name, pattern in _OPERATIONS:
            if pattern.search(text):
                return name
    if _FORMULA.search(text):
        return "Applying a formula"
    if _SOLVE.search(text):
        return "Solving an equation"
    if _CASES.search(text):
        return "Case analysis"
    if _COMPARE.search(text):
        return "Comparison"
    if "=" in text:
        return "Setting up an equation"
    if PLAN.search(text):
        return "Planning"
    return "Logical inference" if _INFER.search(text) else "Interpreting a quantity"
