//! The people who can sign in.

/// A shop would keep a hash of a password for each of them.
pub(crate) const PASSWORD: &str = "demo";

/// An account of the shop.
pub(crate) struct Account {
    pub(crate) id: i64,
    pub(crate) name: &'static str,
    pub(crate) is_administrator: bool,
}

/// The first three are the people who have visits already.
pub(crate) const ACCOUNTS: [Account; 4] = [
    user(1, "Ada"),
    user(2, "Mateo"),
    user(3, "Thandi"),
    Account {
        id: 4,
        name: "Robin",
        is_administrator: true,
    },
];

const fn user(id: i64, name: &'static str) -> Account {
    Account {
        id,
        name,
        is_administrator: false,
    }
}

pub(crate) fn by_id(id: i64) -> Option<&'static Account> {
    ACCOUNTS.iter().find(|account| account.id == id)
}

/// The account that a name and a password belong to.
pub(crate) fn check(name: &str, password: &str) -> Option<&'static Account> {
    let has_name = |account: &&Account| account.name.eq_ignore_ascii_case(name.trim());
    ACCOUNTS
        .iter()
        .find(has_name)
        .filter(|_| password == PASSWORD)
}

/// Names of administrators or of other users, as a list in a sentence.
pub(crate) fn names(administrators: bool) -> String {
    let names = ACCOUNTS
        .iter()
        .filter(|account| account.is_administrator == administrators);
    names
        .map(|account| account.name)
        .collect::<Vec<_>>()
        .join(", ")
}
