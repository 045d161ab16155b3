"""Templates as functions: what Django finds out anew at each rendering of a template is found out once.

A template stays the list of nodes that Django made of it. For the kinds of nodes that ours are mostly made of, a
function stands in that does the same without detours, as long as what it meets is what it was made for, a
`Job` or a plain text. For all else, be it a tag that nobody here knows, the node itself renders.
"""

from collections.abc import Callable, Iterable
from copy import copy
from functools import lru_cache
from html import escape
from itertools import groupby
from typing import Any

from django.template import Context, Node, Template
from django.template.base import (
    FilterExpression,
    NodeList,
    TextNode,
    Variable,
    VariableDoesNotExist,
    VariableNode,
    render_value_in_context,
)
from django.template.defaulttags import (
    AutoEscapeControlNode,
    CommentNode,
    ForNode,
    IfNode,
    LoadNode,
    TemplateLiteral,
    WithNode,
)
from django.template.loader import get_template
from django.template.loader_tags import BlockNode, ExtendsNode, IncludeNode, construct_relative_path
from django.templatetags.i18n import BlockTranslateNode, TranslateNode
from django.templatetags.l10n import LocalizeNode
from django.utils import translation
from django.utils.safestring import SafeString

from status.cells import CellNode
from status.memo import LOOK, MemoNode
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


def show(name: str, values: dict[str, Any]) -> str:
    """What `get_template(name).render(values)` gives; in half the time, if the template is of Django's engine.

    Example:
        >>> show("status/partials/toast.html", {"notification": notification})
        '<a href="…">…</a>'
    """
    found = get_template(name)
    code = getattr(found, "template", None)
    return render(code, values) if isinstance(code, Template) else found.render(values)


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
    return make(node) if make else _itself(node)


def _itself(node: Any) -> Render:
    found: Render = node.render_annotated
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


def _include(node: Any) -> Render:
    """Of a fixed name. The template is found when it is rendered first, for one may include itself."""
    name = _literal(node.template)
    if name is None or node.isolated_context:
        return _itself(node)
    values = {key: resolver(value, ignore_failures=False) for key, value in node.extra_context.items()}
    inner: Render | None = None
    is_whole = False

    def render(context: Context) -> str:
        nonlocal inner, is_whole
        if inner is None:
            path = construct_relative_path(node.origin.template_name, name)
            # Kept as long as the template that this node is in: the loader drops both together.
            assert context.template is not None
            found = context.template.engine.get_template(path)
            inner, is_whole = _compiled(found), _is_memo(found)
        if is_whole and not values:
            # It sets nothing, and remembers by its values alone.
            return inner(context)
        # As `Template.render` does: what is set in it is gone after it, and its tags remember nothing.
        context.dicts.append({key: value(context) for key, value in values.items()})
        context.render_context.dicts.append({})
        try:
            return inner(context)
        finally:
            context.render_context.dicts.pop()
            context.dicts.pop()

    return render


def _literal(expression: FilterExpression) -> str | None:
    """The text, where a template has nothing but a text in quotes."""
    variable: Any = expression.var
    if isinstance(variable, Variable):
        variable = variable.literal
    return variable if isinstance(variable, str) and not expression.filters else None


def _is_memo(template: Template) -> bool:
    """Whether a template consists of `{% memo %}`, and of what is always the same."""
    return {type(node) for node in template.nodelist} <= {LoadNode, TextNode, MemoNode}


def _translate(node: Any) -> Render:
    """Of a text in quotes, which is translated once into each language."""
    about = node.message_context
    if _literal(node.filter_expression) is None or node.asvar or (about and _literal(about) is None):
        return _itself(node)
    kept: dict[str | None, str] = {}

    def render(context: Context) -> str:
        language = _language(context)
        if language not in kept:
            kept[language] = node.render(context)
        return kept[language]

    return render


def _blocktranslate(node: Any) -> Render:
    """Of a text without a plural, which is looked up once in each language."""
    if node.plural or node.asvar or node.message_context:
        return _itself(node)
    singular, names = node.render_token_list(node.singular)
    values = {name: resolver(value, ignore_failures=False) for name, value in node.extra_context.items()}
    kept: dict[str | None, str] = {}

    def render(context: Context) -> str:
        language = _language(context)
        if language not in kept:
            kept[language] = translation.gettext(singular)
        context.dicts.append({name: value(context) for name, value in values.items()})
        try:
            data = {name: render_value_in_context(context[name], context) for name in names}
            return kept[language] % data
        except (KeyError, ValueError):
            pass
        finally:
            context.dicts.pop()
        # A name that is not there, or a text that its translator has broken.
        return str(node.render(context))

    return render


def _language(context: Context) -> str | None:
    look = context.get(LOOK)
    return look[0] if look else translation.get_language()


def _around(node: Any) -> Render:
    """What renders others in a context that it changes."""
    made = copy(node)
    made.nodelist = _as_one(node.nodelist)
    return made.render  # type: ignore[no-any-return]


def _for(node: Any) -> Render:
    made = copy(node)
    made.nodelist_loop, made.nodelist_empty = _as_one(node.nodelist_loop), _as_one(node.nodelist_empty)
    return made.render  # type: ignore[no-any-return]


class _Compiled(Node):
    """Some nodes as one function, for who wants a node."""

    child_nodelists = ("nodelist",)

    def __init__(self, nodelist: NodeList) -> None:
        self.nodelist = nodelist
        self.render_annotated = _all(nodelist)  # type: ignore[method-assign,assignment]


def _as_one(nodes: NodeList) -> NodeList:
    return NodeList([_Compiled(nodes)])


_MAKERS: dict[type, Callable[[Any], Render]] = {
    VariableNode: _variable,
    IfNode: _if,
    ForNode: _for,
    WithNode: _around,
    AutoEscapeControlNode: _around,
    LocalizeNode: _around,
    IncludeNode: _include,
    TranslateNode: _translate,
    BlockTranslateNode: _blocktranslate,
    CellNode: _cell,
    MemoNode: lambda node: node.render,
}


@lru_cache(500)
def page(template: Template) -> Template:
    """A template that renders what `template` does, in less time, and as it may extend others.

    Args:
        template: any template of Django's engine, whose `debug` is off.

    Example:
        >>> page(get_template("status/job.html").template).render(RequestContext(request, {"job": job}))
        '<!DOCTYPE html>…'
    """
    found = copy(template)
    found.nodelist = _nodes(template.nodelist)
    return found


class _Extends(ExtendsNode):
    def get_parent(self, context: Context) -> Template:
        return page(super().get_parent(context))


def _nodes(nodes: Iterable[Any]) -> NodeList:
    """Blocks, and what extends, stay what others look for."""
    extends = any(isinstance(node, ExtendsNode) for node in nodes)
    found = NodeList()
    for kind, some in groupby(nodes, _structure):
        if kind is ExtendsNode:
            found += [_like(node, _Extends(_nodes(node.nodelist), node.parent_name)) for node in some]
        elif kind is BlockNode:
            found += [_like(node, BlockNode(node.name, _nodes(node.nodelist))) for node in some]
        elif kind is None and not extends:
            found.append(_Compiled(NodeList(some)))
        else:
            found += some
    return found


def _structure(node: Any) -> type | None:
    return type(node) if isinstance(node, ExtendsNode | BlockNode) else None


def _like(node: Node, made: Node) -> Node:
    made.token, made.origin = node.token, node.origin
    return made
