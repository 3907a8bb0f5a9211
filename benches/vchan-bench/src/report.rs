//! The tables and plots of a run.

use std::collections::BTreeMap;

use crate::mechanism::Mechanism;
use crate::peer::Peer;
use crate::plan::{round_trip, Cell, Cores, Work, CHANNELS, RINGS, SIZES};
use crate::results::Results;
use crate::stats::Summary;
use crate::svg::{Line, Plot};
use crate::table::{bytes, number, ratio, ratios, spread, Table};
use crate::work::{curve_name, CURVE};

/// Tables by their marker names in the document; none for cells that were not measured.
pub fn blocks(results: &Results) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    for (work, work_name) in [(Work::OneWay, "oneway"), (Work::BothWays, "bothways")] {
        for (cores, cores_name) in [(Cores::Own, "own"), (Cores::One, "one")] {
            let name = format!("{work_name}-{cores_name}");
            blocks.push((name.clone(), streams(results, work, cores)));
            blocks.push((format!("{name}-ratios"), all_ratios(results, work, cores)));
        }
    }
    blocks.push(("roundtrip".into(), round_trips(results)));
    blocks.push(("busy".into(), busy(results)));
    blocks.push(("many".into(), many(results)));
    blocks.retain(|(_, text)| !text.is_empty());
    blocks
}

fn with_sizes(labels: &[&str]) -> Table {
    Table::new(labels.iter().map(|&label| label.to_owned()).chain(SIZES.map(bytes)))
}

/// Below this ratio, a cell counts as slower.
const SLOWER: f64 = 0.97;

/// This build compared with an earlier one: the ratios by work, and each slower cell.
pub fn compared(results: &Results, before: &Results, cells: &[Cell]) -> Option<(String, String)> {
    let mut table = Table::new(["speed : earlier build", "cells", "least", "median", "most"]);
    let mut slower = Vec::new();
    for &peer in Peer::all() {
        let mut groups: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for &cell in cells {
            let Some(ratio) = speed_ratio(results, before, peer, cell) else { continue };
            let name = cell.to_string();
            groups.entry(group_of(cell)).or_default().push(ratio.median);
            if ratio.median < SLOWER {
                slower.push(format!("* {} {name}: {}", peer.title(), ratios(ratio)));
            }
        }
        for (group, mut medians) in groups {
            medians.sort_by(f64::total_cmp);
            let at = |n: usize| Some(ratio(medians[n]));
            let values =
                vec![Some(medians.len().to_string()), at(0), at(medians.len() / 2), at(medians.len() - 1)];
            table.row(&[&format!("{}, {group}", peer.title())], values);
        }
    }
    let slower = match &slower[..] {
        [] => format!("No cell is below {SLOWER}.\n"),
        cells => format!("Below {SLOWER}:\n\n{}\n", cells.join("\n")),
    };
    let table = table.markdown();
    (!table.is_empty()).then(|| ("before".into(), format!("{table}\n{slower}")))
}

/// The speed ratio of two runs.
fn speed_ratio(results: &Results, other: &Results, peer: Peer, cell: Cell) -> Option<Summary> {
    match cell.work {
        Work::RoundTrip { .. } => other.ratio_to(results, peer, peer, cell, "p50"),
        _ => results.ratio_to(other, peer, peer, cell, "gib_s"),
    }
}

/// The work and the cores of a cell.
fn group_of(cell: Cell) -> String {
    cell.to_string().splitn(3, '/').take(2).collect::<Vec<_>>().join("/")
}

/// The complete build compared with itself without one mechanism: for each mechanism and group of cells the
/// median of the speed ratios, and the cell that gains most.
pub fn ablations<'a>(
    results: &Results,
    without: impl Iterator<Item = (Mechanism, &'a Results)>,
    cells: &[Cell],
) -> Option<(String, String)> {
    let mut groups: Vec<String> = cells.iter().map(|&cell| group_of(cell)).collect();
    groups.sort();
    groups.dedup();
    let labels = ["speed : without", "cell that gains most", "its ratio"].map(str::to_owned);
    let mut table = Table::new(labels.into_iter().chain(groups.iter().cloned()));
    for (mechanism, other) in without {
        let mut best: Option<(f64, String, String)> = None;
        let mut medians: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for &peer in Peer::all() {
            for &cell in cells {
                let Some(found) = speed_ratio(results, other, peer, cell) else { continue };
                medians.entry(group_of(cell)).or_default().push(found.median);
                if best.as_ref().is_none_or(|best| found.median > best.0) {
                    best = Some((found.median, format!("{}, {cell}", peer.title()), ratios(found)));
                }
            }
        }
        let Some((_, cell, gain)) = best else { continue };
        let of_group = |group: &String| {
            let medians = medians.get_mut(group)?;
            medians.sort_by(f64::total_cmp);
            Some(ratio(medians[medians.len() / 2]))
        };
        let values = groups.iter().map(of_group).collect();
        table.row(&[&mechanism.name(), &cell, &gain], values);
    }
    let table = table.markdown();
    (!table.is_empty()).then(|| ("ablations".into(), table))
}

/// Throughput of each peer with each ring.
fn streams(results: &Results, work: Work, cores: Cores) -> String {
    let mut table = with_sizes(&["GiB/s", "rings"]);
    for peer in Peer::all() {
        for ring in RINGS {
            let cells = SIZES.map(|size| Cell { work, cores, ring, size });
            if !cells.iter().any(|cell| peer.supports(cell)) {
                continue;
            }
            let label = if peer.ringless() { "–".into() } else { bytes(ring) };
            let values = cells.map(|cell| results.get(*peer, cell, "gib_s").map(spread));
            table.row(&[peer.title(), &label], values.into());
        }
    }
    table.markdown()
}

/// The speed ratios to the peers that this library must not be slower than.
fn all_ratios(results: &Results, work: Work, cores: Cores) -> String {
    let mut table = with_sizes(&["throughput", "rings"]);
    let ours = [Peer::Rust, Peer::Cabi].map(|peer| (peer, vec![Peer::C, Peer::Pipe, Peer::Unix]));
    let mixed = [Peer::RustC, Peer::CRust].map(|peer| (peer, vec![Peer::C]));
    for (peer, others) in ours.into_iter().chain(mixed) {
        for other in others {
            for ring in RINGS {
                let cells = SIZES.map(|size| Cell { work, cores, ring, size });
                let values = cells.map(|cell| results.ratio(peer, other, cell, "gib_s").map(ratios));
                table.row(&[&format!("{} : {}", peer.title(), other.title()), &bytes(ring)], values.into());
            }
        }
    }
    table.markdown()
}

const ROUND_TRIPS: [(Cores, u32, &str); 3] = [
    (Cores::Own, 0, "own cores"),
    (Cores::One, 0, "one core"),
    (Cores::Own, 20, "own cores, 20 µs of thinking"),
];

fn round_trips(results: &Results) -> String {
    let head =
        ["64 B there and back", "", "median, µs", "99 %, µs", "mean, µs", "CPU, µs", "CPU less thinking, µs"];
    let mut table =
        Table::new(head.into_iter().chain(["sleeps", "× faster than C", "× faster than a pipe", "CPU : C"]));
    for (cores, think, label) in ROUND_TRIPS {
        let cell = round_trip(cores, think);
        for &peer in Peer::all() {
            let get = |name: &str| results.get(peer, cell, name).map(spread);
            let faster = |other| results.ratio(other, peer, cell, "p50").map(ratios);
            let cpu = results
                .ratio(peer, Peer::C, cell, "cpu_us")
                .map(|value| format!("{}×", number(value.median)));
            let names = ["p50", "p99", "mean", "cpu_us", "cpu_us_less_thinking", "sleeps"];
            let values = names.map(get).into_iter().chain([faster(Peer::C), faster(Peer::Pipe), cpu]);
            table.row(&[peer.title(), label], values.collect());
        }
    }
    table.markdown()
}

/// The resources of a stream besides time.
fn busy(results: &Results) -> String {
    let head = ["one way, rings of 64 KiB", "cores", "write"];
    let mut table =
        Table::new(head.into_iter().chain(["notifications per MiB", "sleeps per MiB", "CPU s per GiB"]));
    for (cores, label) in [(Cores::Own, "own"), (Cores::One, "one")] {
        for &peer in Peer::all() {
            for size in [64, 4096, 65536] {
                let cell = Cell { work: Work::OneWay, cores, ring: 65536, size };
                let get = |name: &str| results.get(peer, cell, name).map(spread);
                let is_data = matches!(peer, Peer::Pipe | Peer::Unix | Peer::Tcp);
                let notifications = if is_data { None } else { get("notifications_per_mib") };
                let values = vec![notifications, get("sleeps_per_mib"), get("cpu_s_per_gib")];
                table.row(&[peer.title(), label, &bytes(size)], values);
            }
        }
    }
    table.markdown()
}

fn many(results: &Results) -> String {
    let head = ["GiB/s, rings of 64 KiB", "write"];
    let mut table = Table::new(head.into_iter().map(String::from).chain([
        "one channel".into(),
        format!("{CHANNELS} channels"),
        "ratio".into(),
    ]));
    for &peer in Peer::all() {
        for size in [4096, 65536] {
            let cell =
                |channels| Cell { work: Work::Many { channels }, cores: Cores::Own, ring: 65536, size };
            let [one, all] = [1, CHANNELS].map(|channels| results.get(peer, cell(channels), "gib_s"));
            let share = one.zip(all).map(|(one, all)| ratio(all.median / one.median));
            table.row(&[peer.title(), &bytes(size)], vec![one.map(spread), all.map(spread), share]);
        }
    }
    table.markdown()
}

/// Plots by their file names; none for cells that were not measured.
pub fn plots(results: &Results) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (ring, name) in RINGS.into_iter().zip(["4k", "64k", "1m"]) {
        if let Some(svg) = throughput(results, ring).svg() {
            files.push((format!("throughput-{name}.svg"), svg));
        }
    }
    for (cores, think, label) in ROUND_TRIPS {
        if let Some(svg) = latency(results, round_trip(cores, think), label).svg() {
            let name = label.split(',').next().unwrap_or(label).replace(' ', "-");
            let suffix = if think > 0 { "-thinking" } else { "" };
            files.push((format!("latency-{name}{suffix}.svg"), svg));
        }
    }
    files
}

fn throughput(results: &Results, ring: usize) -> Plot {
    let line = |&peer: &Peer| {
        let cell = |size| Cell { work: Work::OneWay, cores: Cores::Own, ring, size };
        let value = |size| results.get(peer, cell(size), "gib_s").map(|value| value.median);
        let points: Vec<_> =
            SIZES.into_iter().filter_map(|size| Some(((size as f64).log2(), value(size)?))).collect();
        (points.len() > 1).then(|| Line { name: peer.title().into(), points })
    };
    Plot {
        title: format!("One way, own cores, rings of {}", bytes(ring)),
        x_title: "bytes in a write".into(),
        y_title: "GiB/s".into(),
        x_ticks: SIZES.map(|size| ((size as f64).log2(), bytes(size))).into(),
        lines: Peer::all().iter().filter(|peer| !peer.batches()).filter_map(line).collect(),
    }
}

/// The distribution: latency by percentile (each step is a tenth of the rest).
fn latency(results: &Results, cell: Cell, label: &str) -> Plot {
    let x = |part: f64| -(1.0 - part).log10();
    let line = |&peer: &Peer| {
        let point = |part| Some((x(part), results.get(peer, cell, &curve_name(part))?.median));
        let points: Vec<_> = CURVE.into_iter().filter_map(point).collect();
        (points.len() > 1).then(|| Line { name: peer.title().into(), points })
    };
    let ticks =
        [(0.01, "1 %"), (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    Plot {
        title: format!("Round trip of 64 B, {label}"),
        x_title: "so many are faster".into(),
        y_title: "µs".into(),
        x_ticks: ticks.map(|(part, name)| (x(part), name.to_owned())).into(),
        lines: Peer::all().iter().filter_map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Values;

    fn measured(text: &str, values: &[(&str, f64)], peers: &[Peer]) -> Results {
        let mut results = Results::default();
        for (n, &peer) in peers.iter().enumerate() {
            let scaled = values.iter().map(|&(name, value)| (name.to_owned(), value * (n + 1) as f64));
            results.add(1, peer, text.parse().unwrap(), scaled.collect::<Values>());
        }
        results
    }

    #[test]
    fn only_measured_cells_are_reported() {
        assert!(blocks(&Results::default()).is_empty() && plots(&Results::default()).is_empty());
        let results = measured("oneway/one/65536/512", &[("gib_s", 2.0)], &[Peer::Rust, Peer::C]);
        let blocks = blocks(&results);
        let names: Vec<&str> = blocks.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["oneway-one", "oneway-one-ratios"]);
        assert!(blocks[0].1.contains("| vchan-rs, Rust | 64 KiB | – | 2.00 | – | – | – |"));
        assert!(blocks[1].1.contains("| vchan-rs, Rust : Xen's C library | 64 KiB | – | **0.50×** |"));
    }

    #[test]
    fn slower_cells_are_listed() {
        let cell = "oneway/own/65536/64";
        let [now, before] = [1.0, 2.0].map(|value| measured(cell, &[("gib_s", value)], &[Peer::Rust]));
        let cells = [cell.parse().unwrap()];
        let (_, text) = compared(&now, &before, &cells).unwrap();
        assert!(text.contains("| vchan-rs, Rust, oneway/own | 1 | **0.50×** |"), "{text}");
        assert!(text.contains("* vchan-rs, Rust oneway/own/65536/64: **0.50×**"), "{text}");
        let (_, text) = compared(&before, &now, &cells).unwrap();
        assert!(text.ends_with("No cell is below 0.97.\n"), "{text}");
        assert_eq!(compared(&now, &Results::default(), &cells), None);
    }

    #[test]
    fn every_table_is_rectangular() {
        let all: Vec<Peer> = Peer::all().to_vec();
        let stream =
            [("gib_s", 1.0), ("sleeps_per_mib", 1.0), ("notifications_per_mib", 1.0), ("cpu_s_per_gib", 1.0)];
        let trip = [("p50", 1.0), ("p99", 2.0), ("mean", 1.0), ("cpu_us", 1.0), ("sleeps", 2.0)];
        for (cell, values) in [
            ("oneway/own/65536/64", &stream[..]),
            ("bothways/one/4096/64", &stream[..]),
            ("many+64/own/65536/4096", &stream[..]),
            ("roundtrip+20/own/65536/64", &trip[..]),
        ] {
            let blocks = blocks(&measured(cell, values, &all));
            assert!(!blocks.is_empty(), "{cell}");
            for (name, text) in blocks {
                let widths: Vec<usize> = text.lines().map(|line| line.matches('|').count()).collect();
                assert!(
                    widths.len() > 2 && widths.iter().all(|width| *width == widths[0]),
                    "{name}:\n{text}"
                );
            }
        }
    }

    #[test]
    fn plots_have_a_line_for_each_peer() {
        let trip = [("p50", 1.0), ("p90", 2.0), ("p99", 3.0)];
        let files = plots(&measured("roundtrip+0/own/65536/64", &trip, &[Peer::Rust, Peer::C]));
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].0, "latency-own-cores.svg");
        assert_eq!(files[0].1.matches("<polyline").count(), 2);
    }
}
