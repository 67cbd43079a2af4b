//! What a search looks for, as a person has written it and as it is asked of the database.

use crate::pairs::Pairs;
use qsessions::Uuid;
use qsessions::ipnet::IpNet;
use std::net::IpAddr;
use std::str::FromStr;

/// The fields of the form, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) user: String,
    pub(crate) network: String,
    pub(crate) device: String,
    pub(crate) country: String,
    pub(crate) state: String,
    pub(crate) after: String,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) field: &'static str,
    pub(crate) sentence: String,
}

/// A search that the database can be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) user: Option<String>,
    pub(crate) network: Option<IpNet>,
    pub(crate) device: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) active: Option<bool>,
    pub(crate) after: Option<Uuid>,
}

impl Form {
    /// Unknown names are ignored, and the last of several fields of one name counts.
    pub(crate) fn new(pairs: &Pairs) -> Self {
        let mut form = Self::default();
        for (name, value) in &pairs.0 {
            let field = match name.as_str() {
                "user" => &mut form.user,
                "network" => &mut form.network,
                "device" => &mut form.device,
                "country" => &mut form.country,
                "state" => &mut form.state,
                "after" => &mut form.after,
                _ => continue,
            };
            *field = value.trim().to_owned();
        }
        form
    }

    /// The search, or everything that is wrong with the form.
    pub(crate) fn filter(&self) -> Result<Filter, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        for (field, value) in [("user", &self.user), ("device", &self.device)] {
            if value.contains('\0') || value.len() > 1000 {
                mistakes.push(Mistake {
                    field,
                    sentence: "Write at most 1,000 characters, without a null character."
                        .to_owned(),
                });
            }
        }
        let network = parsed(&self.network, network).unwrap_or_else(|()| {
            mistakes.push(Mistake {
                field: "network",
                sentence: "Write an address or a network, such as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32."
                    .to_owned(),
            });
            None
        });
        let country = parsed(&self.country, country).unwrap_or_else(|()| {
            mistakes.push(Mistake {
                field: "country",
                sentence: "Write the code of the country, two letters such as DE.".to_owned(),
            });
            None
        });
        let active = parsed(&self.state, active).unwrap_or_else(|()| {
            mistakes.push(Mistake {
                field: "state",
                sentence: "Choose all, active or expired sessions.".to_owned(),
            });
            None
        });
        let after = parsed(&self.after, |text| Uuid::from_str(text).ok()).unwrap_or_else(|()| {
            mistakes.push(Mistake {
                field: "after",
                sentence:
                    "The address names a page that does not exist. Begin again with the first page."
                        .to_owned(),
            });
            None
        });
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let text = |value: &String| (!value.is_empty()).then(|| value.clone());
        Ok(Filter {
            user: text(&self.user),
            network,
            device: text(&self.device),
            country,
            active: active.flatten(),
            after,
        })
    }

    /// The fields that are filled in, as the query of an address.
    pub(crate) fn query(&self, after: Option<Uuid>) -> String {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let filled = self
            .fields()
            .into_iter()
            .chain([("after", after.as_str())])
            .filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(filled)
            .finish()
    }

    /// The fields that say what to look for.
    pub(crate) fn fields(&self) -> [(&'static str, &str); 5] {
        [
            ("user", &self.user),
            ("network", &self.network),
            ("device", &self.device),
            ("country", &self.country),
            ("state", &self.state),
        ]
    }
}

impl Filter {
    /// Whether it finds all sessions.
    pub(crate) fn is_empty(&self) -> bool {
        *self
            == Self {
                after: self.after,
                ..Self::default()
            }
    }

    /// What it finds, for a person.
    pub(crate) fn sentence(&self) -> String {
        let kind = match self.active {
            None => "All sessions",
            Some(true) => "Active sessions",
            Some(false) => "Expired sessions",
        };
        let mut parts = vec![kind.to_owned()];
        if let Some(user) = &self.user {
            parts.push(format!("of user {user}"));
        }
        if let Some(network) = &self.network {
            parts.push(format!("last seen from {network}"));
        }
        if let Some(device) = &self.device {
            parts.push(format!("whose device contains “{device}”"));
        }
        if let Some(country) = &self.country {
            parts.push(format!("in country {country}"));
        }
        parts.join(", ")
    }
}

/// `Ok(None)` for an empty field.
fn parsed<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ()> {
    match text {
        "" => Ok(None),
        text => parse(text).map(Some).ok_or(()),
    }
}

/// An address stands for the network of that address alone. Bits after the prefix are dropped.
fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .ok()
        .map(|network| network.trunc())
}

fn country(text: &str) -> Option<String> {
    let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_code.then(|| text.to_ascii_uppercase())
}

fn active(text: &str) -> Option<Option<bool>> {
    match text {
        "all" => Some(None),
        "active" => Some(Some(true)),
        "expired" => Some(Some(false)),
        _ => None,
    }
}
