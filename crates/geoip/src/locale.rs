//! Which of several names suits the locale asked for.

/// The locale of last resort; every database has names in it.
const FALLBACK: &str = "en";

/// How well the locale `tag` of a name suits the `wanted` one: 0 is not at all, more is better.
///
/// `zh_CN` is `zh-CN`; `de-AT` takes `de`, and `pt` takes `pt-BR`; with neither at hand, `pt-PT`
/// takes `pt-BR` before English.
pub(crate) fn suits(wanted: &str, tag: &str) -> u8 {
    if same(wanted, tag) {
        return 4;
    }
    let (wanted_language, tag_language) = (language(wanted), language(tag));
    if !wanted_language.is_empty() && same(wanted_language, tag_language) {
        let one_is_general =
            wanted.len() == wanted_language.len() || tag.len() == tag_language.len();
        return if one_is_general { 3 } else { 2 };
    }
    u8::from(same(tag, FALLBACK))
}

/// The value whose locale suits best; the first of equals.
pub(crate) fn best<'a, T>(
    wanted: &str,
    names: impl IntoIterator<Item = (&'a str, T)>,
) -> Option<T> {
    let mut best = (0, None);
    for (tag, value) in names {
        let rank = suits(wanted, tag);
        if rank > best.0 {
            best = (rank, Some(value));
        }
    }
    best.1
}

fn language(tag: &str) -> &str {
    // 'fr_FR.UTF-8' and 'de@euro' are what an operating system calls a locale.
    tag.split(['-', '_', '.', '@']).next().unwrap_or_default()
}

fn same(one: &str, other: &str) -> bool {
    let letter = |byte: u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    one.len() == other.len() && one.bytes().map(letter).eq(other.bytes().map(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, &str); 5] = [
        ("de", "Wien"),
        ("en", "Vienna"),
        ("pt-BR", "Viena"),
        ("zh-CN", "维也纳"),
        ("fr", "Vienne"),
    ];

    #[track_caller]
    fn check(wanted: &str, name: &str) {
        assert_eq!(best(wanted, NAMES), Some(name), "{wanted}");
    }

    #[test]
    fn the_closest_locale_wins() {
        check("de", "Wien");
        check("DE", "Wien");
        check("de-AT", "Wien");
        check("de_AT.UTF-8", "Wien");
        check("pt-BR", "Viena");
        check("pt_br", "Viena");
        check("pt", "Viena");
        check("pt-PT", "Viena");
        check("zh_CN", "维也纳");
    }

    #[test]
    fn english_is_the_fallback() {
        check("fa", "Vienna");
        check("", "Vienna");
        check("-", "Vienna");
        check("d", "Vienna");
        check("deu", "Vienna");
    }

    #[test]
    fn no_name_is_made_up() {
        assert_eq!(best("fa", [("de", "Wien")]), None);
        assert_eq!(best::<&str>("en", []), None);
    }

    #[test]
    fn a_general_name_beats_that_of_another_region() {
        assert_eq!(best("pt-PT", [("pt-BR", 1), ("pt", 2)]), Some(2));
    }
}
