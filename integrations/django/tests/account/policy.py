"""The Content-Security-Policy of the site."""

PAGES = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
# Django's admin has scripts, and pictures in its style sheets.
ADMIN = "default-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class Policy:
    """Adds the header to each response."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response.headers["Content-Security-Policy"] = ADMIN if request.path.startswith("/admin/") else PAGES
        return response
