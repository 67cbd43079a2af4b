//! What `User-Agent` headers say.

use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::call::sent_when_awaited;
use crate::client_hints::ClientHints;
use crate::database::Executor;
use crate::error::Error;
use crate::named::named;
use crate::store::Store;

/// What a `User-Agent` header says: a row of the SQL type `user_agent_info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UserAgent {
    /// The name of the browser, or of another program that sent the header.
    pub browser: Option<String>,
    /// Its version.
    pub browser_version: Option<String>,
    /// The operating system.
    pub os: Option<String>,
    /// Its version, if the header tells.
    pub os_version: Option<String>,
    /// The model of the device, or its family.
    pub device: Option<String>,
    /// The maker of the device, or the operator of the bot.
    pub vendor: Option<String>,
    /// The kind of device.
    pub category: Category,
    /// Whether the program calls itself a bot.
    pub is_bot: bool,
}

impl UserAgent {
    fn from_row(row: &Row) -> Result<Self, Error> {
        let category: Option<&str> = row.try_get(6)?;
        Ok(Self {
            browser: row.try_get(0)?,
            browser_version: row.try_get(1)?,
            os: row.try_get(2)?,
            os_version: row.try_get(3)?,
            device: row.try_get(4)?,
            vendor: row.try_get(5)?,
            // A kind that only a later version of the extension knows is `Other` here.
            category: category
                .and_then(Category::from_name)
                .unwrap_or(Category::Other),
            is_bot: row.try_get(7)?,
        })
    }
}

/// A kind of device. It serializes as [its name](Self::as_str).
///
/// ```
/// # use qsessions::Category;
/// fn icon(category: Category) -> &'static str {
///     match category {
///         Category::Mobile | Category::Tablet => "phone",
///         Category::Bot | Category::Tool => "robot",
///         _ => "computer",
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Category {
    /// A desktop or laptop computer.
    Desktop,
    /// A mobile phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A crawler, a preview of links, or an agent.
    Bot,
    /// A library or a command-line tool, such as curl.
    Tool,
    /// A television or a set-top box.
    Tv,
    /// A game console.
    Console,
    /// None of these, or unknown.
    Other,
}

named!(Category {
    Desktop = "desktop",
    Mobile = "mobile",
    Tablet = "tablet",
    Bot = "bot",
    Tool = "tool",
    Tv = "tv",
    Console = "console",
    Other = "other",
});

/// The arguments of [`Store::parse_user_agent`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct ParseUserAgent<'a, E> {
    store: &'a Store<E>,
    user_agent: &'a str,
    client_hints: Option<&'a ClientHints>,
}

/// The arguments of [`Store::device`]. Awaiting it sends the call.
#[must_use = "a call is sent when it is awaited"]
pub struct Device<'a, E> {
    store: &'a Store<E>,
    user_agent: &'a str,
    client_hints: Option<&'a ClientHints>,
}

impl<E: Executor> Store<E> {
    /// The parts of a `User-Agent` header.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
    /// let header = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    /// let user_agent = store.parse_user_agent(header).await?;
    /// assert_eq!(user_agent.browser.as_deref(), Some("Firefox"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse_user_agent<'a>(&'a self, user_agent: &'a str) -> ParseUserAgent<'a, E> {
        ParseUserAgent {
            store: self,
            user_agent,
            client_hints: None,
        }
    }

    /// The device in one line for a person, such as `iPhone / iOS 17.1 / Safari 17.1`. Unknown
    /// parts are `Other`. An empty header gives an empty line.
    ///
    /// ```
    /// # async fn example(store: qsessions::Store, header: &str) -> Result<(), qsessions::Error> {
    /// println!("A login from {}. Was it you?", store.device(header).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn device<'a>(&'a self, user_agent: &'a str) -> Device<'a, E> {
        Device {
            store: self,
            user_agent,
            client_hints: None,
        }
    }
}

impl<'a, E> ParseUserAgent<'a, E> {
    /// The client hints that the browser has sent beside the header. They say what it no longer
    /// does, such as the model of a phone.
    pub fn client_hints(mut self, hints: impl Into<Option<&'a ClientHints>>) -> Self {
        self.client_hints = hints.into();
        self
    }
}

impl<'a, E> Device<'a, E> {
    /// The client hints that the browser has sent beside the header. They say what it no longer
    /// does, such as the model of a phone.
    pub fn client_hints(mut self, hints: impl Into<Option<&'a ClientHints>>) -> Self {
        self.client_hints = hints.into();
        self
    }
}

impl<E: Executor> ParseUserAgent<'_, E> {
    async fn send(self) -> Result<UserAgent, Error> {
        self.store
            .database
            .row(
                "SELECT browser, browser_version, os, os_version, device, vendor, category, is_bot \
                 FROM qsessions.parse_user_agent(user_agent => $1::text, \
                 client_hints => $2::jsonb)",
                &[
                    (&self.user_agent, Type::TEXT),
                    (&ClientHints::argument(self.client_hints), Type::JSONB),
                ],
                UserAgent::from_row,
            )
            .await
    }
}

impl<E: Executor> Device<'_, E> {
    async fn send(self) -> Result<String, Error> {
        self.store
            .database
            .value(
                "SELECT qsessions.device(user_agent => $1::text, client_hints => $2::jsonb)",
                &[
                    (&self.user_agent, Type::TEXT),
                    (&ClientHints::argument(self.client_hints), Type::JSONB),
                ],
            )
            .await
    }
}

sent_when_awaited!(ParseUserAgent -> UserAgent);
sent_when_awaited!(Device -> String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_is_found_by_its_name() {
        for category in Category::ALL {
            assert_eq!(Category::from_name(category.as_str()), Some(*category));
        }
        assert_eq!(Category::from_name("hologram"), None);
        assert_eq!(serde_json::json!(Category::Tv), "tv");
    }
}
