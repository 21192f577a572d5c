"""The report as one page of HTML: needs nothing from anywhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

import attrs

from federlib.testing.chaos.drawing import COLOURS, draw
from federlib.testing.chaos.picture import Picture
from federlib.testing.chaos.records import FaultCount, Result, Slo

__all__ = ["Story", "page", "shown"]

_PALETTE = (
    "#3f7fe0", "#b07a00", "#2a9567", "#8f5bd6", "#138a99", "#c4517f", "#96683a", "#66778f",
)  # fmt: skip
assert len(_PALETTE) == COLOURS

_NAMES: Mapping[str, tuple[str, str]] = {
    "failover_rto_s": ("Failover", "longest gap between accepted acts, in s"),
    "split_brain_commands_accepted": ("Split brain", "accepted under an epoch that was over"),
    "duplicate_side_effects": ("Duplicates", "effects that happened again"),
}


@attrs.frozen(kw_only=True)
class Story:
    """What is told beside the result.

    Attributes:
        title: What was played.
        replay: The command that plays it again.
        facts: Numbers by name, in order.
        violations: What must not be and was.
        remarks: What else a reader must know, for example what could not be checked.
        schedule: The faults, as JSON.
        shrunk: The fewest faults that are enough, as JSON; "" where nothing broke.
    """

    title: str
    replay: str
    facts: Mapping[str, str]
    violations: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    schedule: str
    shrunk: str = ""


def shown(slo: Slo) -> tuple[str, str]:
    """Return the name of an objective for people, and what it says."""
    return _NAMES.get(slo.name, (slo.name, ""))


def page(result: Result, story: Story, picture: Picture) -> str:
    """Return the whole page."""
    verdict = "passed" if result.passed else "failed"
    return "".join(
        (
            "<!doctype html><html lang=en><meta charset=utf-8>",
            '<meta name=viewport content="width=device-width">',
            f"<title>federlib chaos: {verdict}</title><style>{_style()}</style>",
            f'<header><h1>{escape(story.title)} <span class="verdict {verdict}">{verdict}</span>',
            f"</h1><p><code>{escape(story.replay)}</code></header>",
            '<section class="cards">',
            *map(_card, result.slo),
            _violations_card(result),
            "</section>",
            _list("What must not be", story.violations, "violations"),
            _list("To know", story.remarks, "remarks"),
            "<h2>Who led, and what struck</h2>",
            draw(picture),
            _LEGEND,
            '<div class="columns">',
            _faults(result.faults),
            _facts(story.facts),
            "</div>",
            _details("The fewest faults that break it", story.shrunk),
            _details("The faults that were played", story.schedule),
            "</html>\n",
        )
    )


def _card(slo: Slo) -> str:
    name, what = shown(slo)
    state = "passed" if slo.passed else "failed"
    return (
        f'<div class="card {state}"><h3>{escape(name)}</h3>'
        f'<p class="number">{slo.measured:g} <small>of at most {slo.limit:g}</small></p>'
        f"<p>{escape(what)}</p></div>"
    )


def _violations_card(result: Result) -> str:
    state = "failed" if result.violations else "passed"
    return (
        f'<div class="card {state}"><h3>Invariants</h3>'
        f'<p class="number">{result.violations} <small>violations</small></p>'
        f"<p>{result.histories_checked} histories checked</p></div>"
    )


def _list(title: str, lines: Iterable[str], kind: str) -> str:
    items = "".join(f"<li>{escape(line)}" for line in lines)
    return f'<h2>{title}</h2><ul class="{kind}">{items}</ul>' if items else ""


def _faults(faults: Mapping[str, FaultCount]) -> str:
    rows = []
    for kind, count in faults.items():
        if count.not_applicable is not None:
            note = f"not applicable here: {count.not_applicable}"
        else:
            note = f"{count.missed} found nobody to strike" if count.missed else ""
        if count.planned or count.not_applicable is not None:
            rows.append(
                f"<tr><td>{escape(kind)}<td class=n>{count.planned}<td class=n>"
                f"{count.carried_out}<td>{escape(note)}"
            )
    unused = [k for k, c in faults.items() if not c.planned and c.not_applicable is None]
    rest = f"<p class=quiet>Not in this schedule: {escape(', '.join(unused))}." if unused else ""
    head = "<tr><th>fault<th class=n>planned<th class=n>carried out<th>"
    return f"<section><h2>Faults</h2><table>{head}{''.join(rows)}</table>{rest}</section>"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><td>{escape(k)}<td class=n>{escape(v)}" for k, v in facts.items())
    return f"<section><h2>Numbers</h2><table>{rows}</table></section>"


def _details(title: str, text: str) -> str:
    if not text:
        return ""
    return f"<details><summary>{title}</summary><pre>{escape(text)}</pre></details>"


_LEGEND = (
    '<p class="legend">'
    '<span><i class="swatch lead"></i>leads</span>'
    '<span><i class="swatch none"></i>nobody leads</span>'
    '<span><i class="swatch off"></i>not running</span>'
    '<span><i class="swatch hit"></i>fault</span>'
    '<span><i class="tick up"></i>accepted of a leader</span>'
    '<span><i class="tick did"></i>command acted on</span>'
    '<span><i class="tick no"></i>command refused</span>'
    "</p>"
)


def _style() -> str:
    colours = "".join(f".c{n}{{fill:{colour}}}" for n, colour in enumerate(_PALETTE))
    return _STYLE + colours


_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--quiet:#667085;--ground:#fff;--card:#f5f7fa;
--line:#d9dee7;--good:#1a7f4b;--bad:#c0342b;--gap:#fbe3e1;--dead:#c9d0da;--healed:#1a7f4b12}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf1;--quiet:#95a1b5;--ground:#12161d;
--card:#1b212b;--line:#323b49;--good:#4cc38a;--bad:#ff7b72;--gap:#43201f;--dead:#4b5563;
--healed:#4cc38a14}}
*{box-sizing:border-box}
body{margin:2rem auto;max-width:1140px;padding:0 1rem;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:1.8rem 0 .6rem}
h3{font-size:.9rem;margin:0;color:var(--quiet);font-weight:600}
code,pre{font:13px/1.45 ui-monospace,"DejaVu Sans Mono",monospace}
header code{color:var(--quiet)}header p{margin:0 0 1.2rem;overflow-wrap:anywhere}
.verdict{font-size:.95rem;padding:.15rem .7rem;border-radius:1rem;color:#fff;vertical-align:3px}
.verdict.passed{background:#1a7f4b}.verdict.failed{background:#c0342b}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(215px,1fr));gap:.8rem}
.card{background:var(--card);border-radius:8px;padding:.8rem 1rem;border-left:4px solid var(--good)}
.card.failed{border-color:var(--bad)}.card p{margin:0;font-size:.85rem;color:var(--quiet)}
.card .number{font-size:1.6rem;color:var(--ink);font-variant-numeric:tabular-nums}
.card.failed .number{color:var(--bad)}.card small{font-size:.8rem;color:var(--quiet)}
.violations li{color:var(--bad);white-space:pre-wrap}
.picture{display:flex;background:var(--card);border-radius:8px;padding:.8rem .6rem .6rem 0}
.names{flex:none}.scroll{overflow-x:auto;flex:1}svg{display:block}
svg text{fill:var(--ink);font:12px system-ui,"DejaVu Sans",sans-serif}
svg .small{fill:var(--quiet);font-size:11px}svg .name{font-weight:600}
svg .on{fill:#fff;font-weight:600}svg .struck{fill:var(--bad);font-size:11px}
.grid{stroke:var(--line);stroke-width:1}.life{stroke:var(--quiet);stroke-width:1;opacity:.55}
.healed{fill:var(--healed)}.gap{fill:var(--gap)}.stripe{stroke:var(--bad);stroke-width:1.6}
.leaderless{fill:url(#hatch)}.dead{fill:var(--dead);rx:2px}.block{rx:3px}
.fault{fill:var(--bad);fill-opacity:.17;stroke:var(--bad);stroke-width:1;rx:2px}
.issued{stroke:#fff;stroke-width:1;opacity:.75}.acted{stroke:var(--good);stroke-width:1.2}
.refused{stroke:var(--bad);stroke-width:2}.bar{fill:var(--quiet);opacity:.75}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.3rem;font-size:.82rem;color:var(--quiet);
margin:.5rem 0 0 6.5rem}.legend span{display:inline-flex;align-items:center;gap:.4rem}
.swatch{width:22px;height:12px;border-radius:3px;display:inline-block}
.lead{background:#3f7fe0}.off{background:var(--dead)}
.none{background:repeating-linear-gradient(45deg,var(--bad) 0 2px,var(--gap) 2px 6px)}
.hit{background:color-mix(in srgb,var(--bad) 17%,transparent);outline:1px solid var(--bad)}
.tick{width:2px;height:13px;display:inline-block}.up{background:#fff;outline:4px solid #3f7fe0}
.did{background:var(--good)}.no{background:var(--bad);width:3px}.up{margin:0 4px}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(400px,1fr));gap:0 2.5rem}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th{text-align:left;color:var(--quiet);font-weight:600}
td,th{padding:.22rem .5rem .22rem 0;border-bottom:1px solid var(--line)}
.n{text-align:right;font-variant-numeric:tabular-nums}.quiet{color:var(--quiet);font-size:.85rem}
details{margin-top:1rem}summary{cursor:pointer}
pre{background:var(--card);border-radius:8px;padding:.8rem;overflow-x:auto}
"""
