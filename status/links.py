"""Links that are read elsewhere than on a page of this site."""

from urllib.parse import urljoin, urlsplit

from status import conf


def absolute(url: str) -> str:
    """A link for e-mails and webhooks: what is relative begins with `STATUS["SITE_URL"]`; without that it stays so.

    >>> absolute("/jobs/")
    'https://jobs.example.org/jobs/'
    """
    site = conf.current().site_url.rstrip("/")
    if not url or not site:
        return url
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return urljoin(site, url)
    return f"{site}/{url.lstrip('/')}"
