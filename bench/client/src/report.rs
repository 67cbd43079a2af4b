//! Lines for a person.

/// The middle one of these.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&sorted(values), 0.5)
}

pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of values in their order.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted[at.min(sorted.len() - 1)]
}

/// The median of the ratios of neighbouring turns, the lowest and the highest, and whether that is
/// enough.
pub(crate) struct Ratio {
    pub(crate) median: f64,
    lowest: f64,
    highest: f64,
}

impl Ratio {
    pub(crate) fn new(ratios: impl IntoIterator<Item = f64>) -> Self {
        let ratios = sorted(ratios);
        Self {
            median: quantile(&ratios, 0.5),
            lowest: quantile(&ratios, 0.0),
            highest: quantile(&ratios, 1.0),
        }
    }

    pub(crate) const HEAD: &str = " ratio  lowest  highest  wanted";

    pub(crate) fn columns(&self, wanted: f64) -> String {
        let verdict = if self.median >= wanted { "ok" } else { "short" };
        let wanted = format!(">= {wanted}");
        format!("{} {wanted:>7}  {verdict}", self.numbers())
    }

    pub(crate) fn numbers(&self) -> String {
        format!(
            "{:>6.2} {:>7.2} {:>8.2}",
            self.median, self.lowest, self.highest
        )
    }
}
