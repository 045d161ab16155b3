"""Whether all of a template is rendered in one language and time zone: then they are asked for once."""

from functools import lru_cache

from django import template
from django.template.library import InclusionNode, SimpleBlockNode, SimpleNode
from django.template.loader_tags import ExtendsNode, IncludeNode
from django.templatetags.i18n import LanguageNode
from django.templatetags.tz import LocalTimeNode, TimezoneNode


@lru_cache(500)
def keeps_look(found: template.Template) -> bool:
    """Whether nothing in `found`, or in what it includes, can render in another language or time zone.

    Of tags that are not Django's or ours nobody knows.
    """
    return _keep_look(found, {found.name})


def _keep_look(found: template.Template, seen: set[str | None]) -> bool:
    for node in found.nodelist.get_nodes_by_type(template.Node):
        if isinstance(node, LanguageNode | TimezoneNode | LocalTimeNode | ExtendsNode):
            return False
        if isinstance(node, SimpleNode | SimpleBlockNode | InclusionNode):
            if not _is_known(node.func.__module__):
                return False
        elif not _is_known(type(node).__module__):
            return False
        if not isinstance(node, IncludeNode):
            continue
        name = node.template.var
        if not isinstance(name, str):
            return False
        if name not in seen:
            seen.add(name)
            if not _keep_look(found.engine.get_template(name), seen):
                return False
    return True


def _is_known(module: str) -> bool:
    return module.partition(".")[0] in {"django", "status"}
