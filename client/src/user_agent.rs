use tokio_postgres::Row;

use crate::Error;

/// What a `User-Agent` header says, as far as it says anything.
///
/// ```
/// # async fn example(store: qsessions::Store) -> Result<(), qsessions::Error> {
/// let header = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
/// let user_agent = store.parse_user_agent(header).await?;
/// assert_eq!(user_agent.browser.as_deref(), Some("Firefox"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserAgent {
    /// The name of the browser, or of the program that isn't one.
    pub browser: Option<String>,
    /// Its version.
    pub browser_version: Option<String>,
    /// The operating system.
    pub os: Option<String>,
    /// Its version, where the header doesn't hide it.
    pub os_version: Option<String>,
    /// The model of the device, or its family.
    pub device: Option<String>,
    /// Who makes the device, or runs the bot.
    pub vendor: Option<String>,
    /// The kind of device.
    pub category: Category,
    /// Whether a program says of itself that it visits without a person.
    pub is_bot: bool,
}

macro_rules! user_agent_columns {
    () => {
        "browser, browser_version, os, os_version, device, vendor, category, is_bot"
    };
}
pub(crate) use user_agent_columns;

impl TryFrom<Row> for UserAgent {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
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

/// A kind of device.
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
    /// A computer with a screen and a keyboard.
    Desktop,
    /// A telephone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A crawler, a preview of links, an agent.
    Bot,
    /// A library or a command, such as curl.
    Tool,
    /// A television or a box at one.
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

    /// A later version of the extension may know kinds that this crate doesn't: they are `Other`
    /// here.
    fn from_name(name: Option<&str>) -> Self {
        Self::ALL
            .into_iter()
            .find(|category| Some(category.as_str()) == name)
            .unwrap_or(Self::Other)
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
