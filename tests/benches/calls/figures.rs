//! From samples to figures: medians, ratios to the baseline of the same round, spread.

use serde_json::json;

/// What one round measured: microseconds of one call at a time, calls per second of many at a time.
pub(crate) struct Sample {
    pub(crate) raw_1: f64,
    pub(crate) sealed_1: f64,
    pub(crate) local_1: f64,
    pub(crate) raw_64: f64,
    pub(crate) sealed_64: f64,
    pub(crate) local_64: f64,
}

/// One line of the report.
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    baseline: f64,
    ratio: f64,
    /// How far apart the rounds are: largest less smallest, as a part of the median.
    spread: f64,
}

pub(crate) fn figures(samples: &[Sample]) -> Vec<Figure> {
    let figure = |name, unit, value: fn(&Sample) -> f64, baseline: fn(&Sample) -> f64| {
        let values: Vec<_> = samples.iter().map(value).collect();
        let spread =
            values.iter().copied().fold(0.0, f64::max) - values.iter().copied().fold(f64::MAX, f64::min);
        let median_value = median(values);
        Figure {
            name,
            unit,
            value: median_value,
            baseline: median(samples.iter().map(baseline).collect()),
            ratio: median(samples.iter().map(|sample| value(sample) / baseline(sample)).collect()),
            spread: spread / median_value,
        }
    };
    vec![
        figure("sealed-call-1", "us", |sample| sample.sealed_1, |sample| sample.raw_1),
        figure("sealed-call-64", "calls/s", |sample| sample.sealed_64, |sample| sample.raw_64),
        figure("local-call-1", "us", |sample| sample.local_1, |sample| sample.raw_1),
        figure("local-call-64", "calls/s", |sample| sample.local_64, |sample| sample.raw_64),
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn report(figures: &[Figure], json: bool) {
    if !json {
        println!(
            "{:16} {:>12} {:8} {:>12} {:>7} {:>7}",
            "figure", "value", "unit", "raw NATS", "ratio", "spread"
        );
    }
    for Figure { name, unit, value, baseline, ratio, spread } in figures {
        if json {
            let line = json!({
                "figure": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "spread": spread,
            });
            println!("{line}");
        } else {
            println!("{name:16} {value:12.1} {unit:8} {baseline:12.1} {ratio:7.2} {:6.0}%", spread * 100.0);
        }
    }
}
