"""Middleware that looks at requests and interferes with them."""

from django.db import connection

statements = []
meanwhile = {}


class Statements:
    """Records the statements of a request."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        def keep(execute, sql, params, many, context):
            statements.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(keep):
            return self.get_response(request)


class Meanwhile:
    """Performs the action that a header names, after the session was loaded and before the view runs."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        name = request.headers.get("X-Meanwhile")
        if name:
            request.session.items()
            meanwhile[name](request.session.session_key)
        return self.get_response(request)
