"""The mapping engine: frozen values in, frozen values out; no Django, no database, no network.

`compile_mapping` turns what a mapping says into functions of a row; `CompiledMapping.map` gives canonical, valid values;
`plan_write` compares them with what was delivered. The function `canonical` stands in the module of that name.
"""

from __future__ import annotations

from .canonical import digest, fingerprint
from .check import check_mapping
from .compile import CompiledMapping, Mapped, compile_mapping
from .content import Direction, MappingContent, Mode, NullPolicy, Owner, RuleContent, WriteMode
from .diff import Write, plan_write
from .problems import FieldProblem, MappingInvalid, Problem, Unmappable
from .rules import CompiledAssociation, CompiledRule
from .transforms import TRANSFORMS, Transform

__all__ = [
    "TRANSFORMS",
    "CompiledAssociation",
    "CompiledMapping",
    "CompiledRule",
    "Direction",
    "FieldProblem",
    "Mapped",
    "MappingContent",
    "MappingInvalid",
    "Mode",
    "NullPolicy",
    "Owner",
    "Problem",
    "RuleContent",
    "Transform",
    "Unmappable",
    "Write",
    "WriteMode",
    "check_mapping",
    "compile_mapping",
    "digest",
    "fingerprint",
    "plan_write",
]
