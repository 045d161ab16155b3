"""Partials as functions: what Django finds out anew at each rendering of a template is found out once.

A template stays the list of nodes that Django made of it. For the kinds of nodes that partials are mostly made of, a
function stands in that does the same without detours, as long as what it meets is what it was made for, a
`Job` or a plain text. For all else, be it a tag that nobody here knows, the node itself renders.
"""

from collections.abc import Callable
from functools import lru_cache
from html import escape
from typing import Any

from django.template import Context, Template
from django.template.base import (
    NodeList,
    TextNode,
    VariableDoesNotExist,
    VariableNode,
    render_value_in_context,
)
from django.template.defaulttags import CommentNode, IfNode, LoadNode, TemplateLiteral
from django.utils.safestring import SafeString

from status.cells import CellNode
from status.memo import MemoNode, PaintNode
from status.resolving import Value, resolver

Render = Callable[[Context], str]


def render(template: Template, values: dict[str, Any]) -> SafeString:
    """What `template.render(Context(values))` gives, in half the time.

    Args:
        template: any template of Django's engine.
        values: its variables; the dictionary may be changed.

    Example:
        >>> render(engine.from_string("{{ job.percent }}%"), {"job": job})
        '42%'
    """
    if template.engine.debug:
        # Django tells then in which line an error is.
        return template.render(Context(values))
    # As `Template.render` leaves it while it renders; nobody else has this context, so nothing is put back.
    context = Context(values, autoescape=template.engine.autoescape)
    context.template = context.render_context.template = template
    # Each part of it was escaped. `mark_safe` asks first whether it is lazy, for longer than it takes.
    return SafeString(_compiled(template)(context))


@lru_cache(500)
def _compiled(template: Template) -> Render:
    return _all(template.nodelist)


def _all(nodes: NodeList) -> Render:
    """The nodes in turn."""
    parts = [part for node in nodes if (part := _part(node)) is not None]
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]
    if all(isinstance(part, str) for part in parts):
        text = "".join(part for part in parts if isinstance(part, str))
        return lambda context: text
    return lambda context: "".join([part if part.__class__ is str else part(context) for part in parts])  # type: ignore[operator]


def _part(node: Any) -> str | Render | None:
    """A text, or what renders; None for what never shows anything. Nodes of others may be subclasses of these."""
    if type(node) is TextNode:
        return str(node.s)
    if type(node) in {LoadNode, CommentNode}:
        return None
    make = _MAKERS.get(type(node))
    found: Render = make(node) if make else node.render_annotated
    return found


def _variable(node: VariableNode) -> Render:
    value = resolver(node.filter_expression, ignore_failures=False)

    def render(context: Context) -> str:
        found = value(context)
        if found.__class__ is str and context.autoescape:
            return escape(found)
        return render_value_in_context(found, context)

    return render


def _if(node: IfNode) -> Render:
    branches = [(_condition(condition), _all(nodes)) for condition, nodes in node.conditions_nodelists]

    def render(context: Context) -> str:
        for holds, inner in branches:
            if holds is None or holds(context):
                return inner(context)
        return ""

    return render


def _condition(condition: Any) -> Value | None:
    """None for `else`. Only a name with nothing around it goes without Django's own evaluation."""
    if condition is None:
        return None
    if type(condition) is TemplateLiteral:
        return resolver(condition.value, ignore_failures=True)  # type: ignore[arg-type]  # As the stubs have it.

    def holds(context: Context) -> Any:
        try:
            return condition.eval(context)
        except VariableDoesNotExist:  # As `IfNode.render` does.
            return False

    return holds


def _cell(node: CellNode) -> Render:
    inner = _all(node.nodelist)
    return lambda context: node.around(inner(context), context)


def _paint(node: PaintNode) -> Render:
    """The partial is found when it is rendered first, for one may paint itself."""
    inner: Render | None = None
    is_memo = False

    def render(context: Context) -> str:
        nonlocal inner, is_memo
        if inner is None:
            found, memo = node.found(context)
            inner, is_memo = (memo.render, True) if memo else (_compiled(found), False)
        values = node.values_in(context)
        if is_memo and not values:
            return inner(context)
        context.dicts.append(values)
        try:
            return inner(context)
        finally:
            context.dicts.pop()

    return render


_MAKERS: dict[type, Callable[[Any], Render]] = {
    VariableNode: _variable,
    IfNode: _if,
    CellNode: _cell,
    PaintNode: _paint,
    MemoNode: lambda node: node.render,
}
