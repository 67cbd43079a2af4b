//! Structured fields (RFC 9651), as far as client hints use them.
//!
//! Texts are returned as they stand between their quotes. Only meaningless brands have escapes, so
//! a text with an escape is not a name and is left out.

/// A member of a list: a text with the parameter `v`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Item<'a> {
    /// None if the text has an escape.
    pub(super) name: Option<&'a str>,
    pub(super) version: Option<&'a str>,
}

/// A single text: `"Pixel 8"`. Some programs take the quotes away before they pass it on.
pub(super) fn text(field: &str) -> Option<&str> {
    let field = field.trim();
    let text = match field.strip_prefix('"') {
        Some(_) => Rest(field).string()?,
        None if field.contains(['"', '\\']) => return None,
        None => field,
    };
    let text = text.trim();
    (!text.is_empty() && !text.contains('\\')).then_some(text)
}

/// Whether a boolean is true.
pub(super) fn is_true(field: &str) -> bool {
    field.trim() == "?1"
}

/// The members of a list, or none of them if it is not a list of texts.
pub(super) fn items(field: &str) -> Option<Vec<Item<'_>>> {
    let mut rest = Rest(field);
    let mut items = Vec::new();
    loop {
        rest.skip_blanks();
        let name = rest.bare_item()?;
        let mut item = Item {
            name: Some(name).filter(|name| !name.contains('\\')),
            version: None,
        };
        rest.skip_blanks();
        while rest.take(b';') {
            rest.skip_blanks();
            let key = rest.token()?;
            let value = match rest.take(b'=') {
                true => Some(rest.bare_item()?),
                false => None,
            };
            if key == "v" {
                item.version = value;
            }
            rest.skip_blanks();
        }
        items.push(item);
        if rest.0.is_empty() {
            return Some(items);
        }
        if !rest.take(b',') {
            return None;
        }
    }
}

/// The part that is not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(char::from(byte));
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    fn bare_item(&mut self) -> Option<&'a str> {
        match self.0.starts_with('"') {
            true => self.string(),
            false => self.token(),
        }
    }

    /// What stands between two quotes, with its escapes.
    fn string(&mut self) -> Option<&'a str> {
        let rest = self.0.strip_prefix('"')?;
        let mut is_escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })?;
        self.0 = &rest[end + 1..];
        Some(&rest[..end])
    }

    /// A token, a number or a boolean.
    fn token(&mut self) -> Option<&'a str> {
        let is_part =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/?".contains(&byte);
        let end = self.0.bytes().position(|byte| !is_part(byte));
        let (token, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }
}
