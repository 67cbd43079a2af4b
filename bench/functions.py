"""The functions that applications call most, against bare statements of the same effect."""

from statistics import median

from pgbench import Statement, in_turns

_COLUMNS = ("id, user_id, data, ip, user_agent, created_at, authenticated_at, "
            "updated_at, last_seen_at, expires_at, version")

SELECT = Statement(
    "bare SELECT", "id", f"SELECT {_COLUMNS} FROM qsessions.session WHERE id = :id_#")
LOAD = Statement(
    "load_session", "key", "SELECT * FROM qsessions.load_session(:key_#)")
RESUME = Statement(
    "resume_session", "key", "SELECT * FROM qsessions.resume_session(:key_#, :ip, :user_agent)")
UPDATE = Statement(
    "bare UPDATE", "id",
    "UPDATE qsessions.session SET data = :data, version = version + 1, updated_at = now() WHERE id = :id_#")
SAVE = Statement(
    "save_session", "key", "SELECT qsessions.save_session(:key_#, :data)")
INSERT = Statement(
    "bare INSERT", "new id",
    "INSERT INTO qsessions.session (id, digest, user_id, data, ip, user_agent, authenticated_at, expires_at) "
    "VALUES (:id_#, :digest, :user_#, :data, :ip, :user_agent, now(), now() + interval '14 days')")
CREATE = Statement(
    "create_session", "new id", "SELECT * FROM qsessions.create_session(:user_#, :data, :ip, :user_agent)")

# A function, the bare statement, and the least ratio of their speeds.
COMPARISONS = [(LOAD, SELECT, 0.9), (RESUME, SELECT, 0.5), (SAVE, UPDATE, 0.75), (CREATE, INSERT, 0.7)]

_HEAD = ("function", "against", "function/s", "bare/s", "ratio", "lowest", "highest", "wanted", "")
_LINE = "{:<15} {:<14} {:>10} {:>8} {:>6} {:>7} {:>8} {:>7}  {}"


def measure(server, rows, rounds, seconds, say):
    """The lines of the report, and whether every ratio is high enough."""
    return report(COMPARISONS, server, rows, rounds, seconds, say)


def report(comparisons, server, rows, rounds, seconds, say):
    """Compares statements, each with its least ratio; the lines of the report, and whether all are high enough."""
    lines, all_good = [_LINE.format(*_HEAD).rstrip()], True
    for function, bare, wanted in comparisons:
        say(f"{function.name} against {bare.name}")
        speeds = in_turns(server, rows, (function, bare), rounds, seconds)
        ratios = [ours / theirs for ours, theirs in speeds]
        good = median(ratios) >= wanted
        all_good &= good
        lines.append(_LINE.format(
            function.name, bare.name,
            f"{median(ours for ours, _ in speeds):,.0f}", f"{median(theirs for _, theirs in speeds):,.0f}",
            f"{median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}", f">= {wanted}",
            "ok" if good else "short"))
    return lines, all_good
