//! Sign-ins and signed-in sessions over time, from the table of events.

use crate::database::{count, one};
use crate::problem::Problem;
use crate::words::rfc3339;
use qsessions::deadpool_postgres::Transaction;
use std::time::{Duration, SystemTime};
use tokio_postgres::types::Type;

/// A span of time that is shown in equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    Day,
    Week,
    Month,
}

impl Range {
    pub(crate) const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Day => "24 hours",
            Self::Week => "7 days",
            Self::Month => "30 days",
        }
    }

    pub(crate) fn step_words(self) -> &'static str {
        match self {
            Self::Day => "hour",
            Self::Week => "six hours",
            Self::Month => "day",
        }
    }

    fn step(self) -> u64 {
        match self {
            Self::Day => 3_600,
            Self::Week => 6 * 3_600,
            Self::Month => 86_400,
        }
    }

    fn steps(self) -> u64 {
        match self {
            Self::Day => 24,
            Self::Week => 28,
            Self::Month => 30,
        }
    }
}

/// A step of a timeline.
#[derive(Clone, Debug, Default)]
pub(crate) struct Step {
    /// When it begins, for an axis.
    pub(crate) label: String,
    /// When it begins, in full.
    pub(crate) begins: String,
    pub(crate) sign_ins: u64,
    pub(crate) from_new_devices: u64,
    /// Signed-in sessions at its end. `None`: there are no events of this time.
    pub(crate) signed_in: Option<u64>,
}

/// Reads the events of a range. `signed_in` is the number of sessions with a user now.
pub(crate) async fn read(
    transaction: &Transaction<'_>,
    range: Range,
    now: SystemTime,
    signed_in: u64,
) -> Result<Vec<Step>, Problem> {
    let seconds = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let first = seconds / range.step() + 1 - range.steps();
    let start = at(first * range.step());
    let mut steps: Vec<Step> = (first..first + range.steps())
        .map(|number| step(range, number))
        .collect();

    let mut began = vec![0_u64; steps.len()];
    let mut ended = vec![0_u64; steps.len()];
    let mut earliest = steps.len();
    // One pass without a sort, because there may be millions of events.
    let rows = transaction
        .query_typed(
            "SELECT floor(extract(epoch FROM e.at) / $1::bigint)::bigint - $2::bigint,
                    count(*) FILTER (WHERE e.event = 'login'),
                    count(*) FILTER (WHERE e.event = 'login' AND e.is_new_device),
                    count(*) FILTER (WHERE e.event IN ('login', 'imported') AND e.user_id IS NOT NULL),
                    count(*) FILTER (WHERE e.event NOT IN ('login', 'imported') AND e.user_id IS NOT NULL)
             FROM qsessions.session_event AS e
             WHERE e.at >= $3::timestamptz AND e.event <> 'rotated'
             GROUP BY 1",
            &[
                (&(range.step() as i64), Type::INT8),
                (&(first as i64), Type::INT8),
                (&start, Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    for row in &rows {
        let place: i64 = row.try_get(0)?;
        // An event may have come after `now`.
        let place = usize::try_from(place)
            .unwrap_or_default()
            .min(steps.len() - 1);
        steps[place].sign_ins += count(row, 1)?;
        steps[place].from_new_devices += count(row, 2)?;
        began[place] += count(row, 3)?;
        ended[place] += count(row, 4)?;
        earliest = earliest.min(place);
    }
    let has_earlier: bool = one(
        transaction,
        "SELECT EXISTS (SELECT FROM qsessions.session_event AS e WHERE e.at < $1::timestamptz)",
        &[(&start, Type::TIMESTAMPTZ)],
    )
    .await?
    .try_get(0)?;
    let known_from = if has_earlier { 0 } else { earliest };
    let mut present = signed_in;
    for place in (known_from..steps.len()).rev() {
        steps[place].signed_in = Some(present);
        present = (present + ended[place]).saturating_sub(began[place]);
    }
    Ok(steps)
}

fn step(range: Range, number: u64) -> Step {
    let begins = rfc3339(at(number * range.step()));
    let part = match range {
        Range::Day => 11..16,
        Range::Week | Range::Month => 5..10,
    };
    Step {
        label: begins.get(part).unwrap_or_default().to_owned(),
        begins: begins.get(..16).unwrap_or_default().replace('T', " "),
        ..Step::default()
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
