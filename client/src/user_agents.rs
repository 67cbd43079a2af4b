//! What `User-Agent` headers say.

use serde::{Serialize, Serializer};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::database::Executor;
use crate::error::Error;
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
        Ok(Self {
            browser: row.try_get(0)?,
            browser_version: row.try_get(1)?,
            os: row.try_get(2)?,
            os_version: row.try_get(3)?,
            device: row.try_get(4)?,
            vendor: row.try_get(5)?,
            category: Category::from_name(row.try_get(6)?),
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

impl Category {
    const ALL: [Self; 8] = [
        Self::Desktop,
        Self::Mobile,
        Self::Tablet,
        Self::Bot,
        Self::Tool,
        Self::Tv,
        Self::Console,
        Self::Other,
    ];

    /// The name that the database gives it, such as `desktop`.
    ///
    /// ```
    /// assert_eq!(qsessions::Category::Tv.as_str(), "tv");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
            Self::Bot => "bot",
            Self::Tool => "tool",
            Self::Tv => "tv",
            Self::Console => "console",
            Self::Other => "other",
        }
    }

    /// A kind that only a later version of the extension knows is `Other` here.
    fn from_name(name: Option<&str>) -> Self {
        Self::ALL
            .into_iter()
            .find(|category| Some(category.as_str()) == name)
            .unwrap_or(Self::Other)
    }
}

impl Serialize for Category {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
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
    pub async fn parse_user_agent(&self, user_agent: &str) -> Result<UserAgent, Error> {
        self.database
            .row(
                "SELECT browser, browser_version, os, os_version, device, vendor, category, is_bot \
                 FROM qsessions.parse_user_agent(user_agent => $1::text)",
                &[(&user_agent, Type::TEXT)],
                UserAgent::from_row,
            )
            .await
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
    pub async fn device(&self, user_agent: &str) -> Result<String, Error> {
        self.database
            .value(
                "SELECT qsessions.device(user_agent => $1::text)",
                &[(&user_agent, Type::TEXT)],
            )
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_is_found_by_its_name_and_others_are_other() {
        for category in Category::ALL {
            assert_eq!(Category::from_name(Some(category.as_str())), category);
        }
        assert_eq!(Category::from_name(Some("hologram")), Category::Other);
        assert_eq!(Category::from_name(None), Category::Other);
    }
}
