//! Names of countries, for the files that hold only their codes.

/// What is known of a country by its code.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Country {
    pub(crate) name: Option<&'static str>,
    pub(crate) continent_code: Option<&'static str>,
    pub(crate) continent_name: Option<&'static str>,
    pub(crate) is_in_european_union: bool,
}

pub(crate) fn country(_code: &str, _locale: &str) -> Country {
    Country::default()
}
