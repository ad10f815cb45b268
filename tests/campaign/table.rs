//! Which points are tried, and the table of what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::errno::Errno;

use super::bench::{Bench, Outcome, Recovery, Violation};
use super::calls::Counted;
use super::common::skip::{Needs, test};
use super::recorder::{Entry, Failing};
use super::scenario::{SCENARIOS, Scenario};
use super::trace::{Act, Point, obstacle};
use super::world::{Medium, Room};

/// The errors of a disk, of a quota, of a signal, and of a security module.
const ERRORS: [Errno; 5] = [Errno::EIO, Errno::ENOSPC, Errno::EINTR, Errno::EACCES, Errno::EDQUOT];

/// How many amounts of room, and how many power cuts and bad disks, the sample tries of a scenario.
const SAMPLE_ROOMS: usize = 32;
const SAMPLE_DISKS: usize = 4;

/// How many violations of a scenario are shown.
const SHOWN: usize = 12;

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// What came of one kind of points of a scenario.
struct Row {
    name: String,
    calls: usize,
    outcomes: BTreeMap<Outcome, usize>,
    violations: Vec<Violation>,
    started: Instant,
    time: Duration,
}

impl Row {
    fn new(name: &str, calls: usize) -> Self {
        let (outcomes, violations) = (BTreeMap::new(), Vec::new());
        Self { name: name.to_owned(), calls, outcomes, violations, started: Instant::now(), time: Duration::ZERO }
    }

    fn add(&mut self, attempt: Result<Outcome, Violation>) {
        match attempt {
            Ok(outcome) => *self.outcomes.entry(outcome).or_default() += 1,
            Err(violation) => self.violations.push(violation),
        }
    }

    /// Adds the row to the table, and fails with its violations.
    fn end(mut self, extent: Extent) {
        self.time = self.started.elapsed();
        let (count, shown) = (self.violations.len(), self.violations.iter().take(SHOWN).cloned().collect::<Vec<_>>());
        ROWS.lock().expect("no panic here").push(self);
        assert!(shown.is_empty(), "{count} violations ({extent:?}):\n  {}", shown.join("\n  "));
    }
}

/// How many points are tried.
#[derive(Debug, Clone, Copy)]
enum Extent {
    All,
    Sample(u64),
}

impl Extent {
    /// Returns the extent after a kill at this call: of each round, other points are tried.
    fn of_round(self, killed_at: usize) -> Self {
        match self {
            Self::All => Self::All,
            Self::Sample(seed) => Self::Sample(seed.wrapping_add(2 * killed_at as u64)),
        }
    }
}

/// What goes wrong at the calls of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    Kills,
    /// Signals that ask it to end.
    Signals,
    /// The same at calls that read.
    ReadSignals,
    Errors,
    /// Calls that read fail.
    Reads,
}

impl Faults {
    fn acts(self) -> Vec<Act> {
        let errors =
            |errors: &[Errno]| errors.iter().flat_map(|&errno| [Act::Fail(errno), Act::FailOn(errno)]).collect();
        match self {
            Self::Kills => vec![Act::Kill],
            Self::Signals | Self::ReadSignals => vec![Act::Signal],
            Self::Errors => errors(&ERRORS),
            Self::Reads => errors(&[Errno::EIO]),
        }
    }

    fn are_at_reads(self) -> bool {
        matches!(self, Self::Reads | Self::ReadSignals)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kills => "kills",
            Self::Signals => "signals",
            Self::ReadSignals => "read_signals",
            Self::Errors => "errors",
            Self::Reads => "reads",
        }
    }

    /// How many points of a scenario the sample tries.
    fn sample(self) -> usize {
        match self {
            Self::Kills => 32,
            Self::Signals | Self::ReadSignals => 16,
            Self::Errors => 48,
            Self::Reads => 24,
        }
    }
}

/// Returns the tests of each scenario, one for each kind of faults.
pub(crate) fn trials() -> Vec<Trial> {
    let extent = extent();
    let needs = [Needs::Prepared(obstacle)];
    let mut trials = Vec::new();
    for scenario in SCENARIOS {
        let named = |faults: &str| format!("{}_{faults}", scenario.name);
        for faults in [Faults::Kills, Faults::Signals, Faults::ReadSignals, Faults::Errors, Faults::Reads] {
            if if faults.are_at_reads() { scenario.has_reads() } else { scenario.changes_disk() } {
                let name = named(faults.name());
                trials.push(test(&name.clone(), &needs, move || attempt_all(&name, scenario, faults, extent)));
            }
        }
        if scenario.changes_disk() && !scenario.is_after_kill() {
            let name = named("full_disk");
            let needs = [Needs::Prepared(obstacle), Needs::Root];
            trials.push(test(&name.clone(), &needs, move || attempt_full(&name, scenario, extent)));
        }
        let needs = [Needs::Root, Needs::Program("mkfs.ext4"), Needs::Prepared(recordable), Needs::Prepared(obstacle)];
        if scenario.has_power_cuts() {
            let name = named("power_cut");
            trials.push(test(&name.clone(), &needs, move || attempt_power_cuts(&name, scenario, extent)));
        }
        if scenario.has_bad_disk() {
            let name = named("bad_disk");
            trials.push(test(&name.clone(), &needs, move || attempt_bad_disks(&name, scenario, extent)));
        }
    }
    trials
}

fn extent() -> Extent {
    match std::env::var("VOLTAR_CAMPAIGN").as_deref() {
        Ok("all") => Extent::All,
        Ok(seed) => Extent::Sample(seed.parse().expect("VOLTAR_CAMPAIGN is `all` or a number")),
        // The same each time, so that what fails is what was changed.
        Err(_) => Extent::Sample(1),
    }
}

fn attempt_all(name: &str, scenario: &Scenario, faults: Faults, extent: Extent) {
    let counted = if faults.are_at_reads() { Counted::Reads } else { scenario.changes() };
    let mut bench = Bench::new(*scenario, Medium::Scratch, counted);
    let mut row = Row::new(name, bench.total);
    let rounds = if scenario.is_after_kill() { rounds(bench.total, faults, extent) } else { vec![0] };
    let count = rounds.len();
    let usual = if scenario.is_after_kill() { bench.killed_at(0).len() } else { 0 };
    let mut known = BTreeSet::new();
    for killed_at in rounds {
        let mut total = bench.total;
        if killed_at > 0 {
            let mut calls = bench.killed_at(killed_at);
            total = calls.len();
            if matches!(extent, Extent::All) && faults != Faults::Kills {
                calls.truncate(total.saturating_sub(usual));
                if !known.is_empty() {
                    // What it does in any case has failed after the first kill.
                    total = calls.len();
                }
                // Of calls that follow each other with one name, as where a tree is removed, one counts.
                calls.dedup();
                if !known.insert(calls) {
                    continue;
                }
            }
        }
        let points = points(total, faults, extent.of_round(killed_at), count * scenario.slowness());
        if matches!(extent, Extent::All) {
            attempt_beside_others(&mut row, &bench, &points);
        } else {
            for (point, recovery) in points {
                row.add(bench.attempt(point, recovery));
            }
        }
    }
    row.end(extent);
}

/// Attempts several points at a time, each thread in a world of its own that is like that of `bench`.
fn attempt_beside_others(row: &mut Row, bench: &Bench, points: &[(Point, Recovery)]) {
    let (left, row) = (Mutex::new(points.iter()), Mutex::new(row));
    let next = || left.lock().expect("no panic here").next().copied();
    std::thread::scope(|scope| {
        for _ in 0..bench.at_a_time() {
            scope.spawn(|| {
                let bench = bench.another();
                while let Some((point, recovery)) = next() {
                    let attempt = bench.attempt(point, recovery);
                    row.lock().expect("no panic here").add(attempt);
                }
            });
        }
    });
}

/// Small enough to be filled each time.
const LIMITS: &str = "size=16m,nr_inodes=1000,mode=755";

/// Leaves less and less room, from where the run is complete to none.
fn attempt_full(name: &str, scenario: &Scenario, extent: Extent) {
    /// The most room that any scenario needs: it is complete then.
    const MOST: (u64, u64) = (512 << 10, 120);
    const PAGE: u64 = 4 << 10;
    let bench = Bench::new(*scenario, Medium::Limited(LIMITS), scenario.changes());
    let mut row = Row::new(name, bench.total);
    let bytes = (0..=MOST.0 / PAGE).map(|pages| Room::Bytes(pages * PAGE));
    let rooms: Vec<Room> = bytes.chain((0..=MOST.1).map(Room::Files)).collect();
    let most = match extent {
        Extent::All => rooms.len(),
        Extent::Sample(_) => SAMPLE_ROOMS / scenario.slowness(),
    };
    for (i, index) in sample(rooms.len(), most, extent).into_iter().enumerate() {
        let recoveries = [Recovery::Resume, Recovery::Again];
        let both = matches!(extent, Extent::All);
        for recovery in recoveries.into_iter().skip(if both { 0 } else { i % 2 }).take(if both { 2 } else { 1 }) {
            row.add(bench.attempt_full(rooms[index - 1], recovery));
        }
    }
    assert!(row.outcomes.contains_key(&Outcome::Done), "{name}: the most room is enough");
    row.end(extent);
}

/// Returns why disks cannot be recorded here.
fn recordable() -> Result<(), String> {
    let missing = ["/dev/fuse", "/dev/loop-control"].into_iter().find(|path| !std::path::Path::new(path).exists());
    missing.map_or(Ok(()), |path| Err(format!("no {path}")))
}

/// The size of a disk that is recorded. In bytes.
const DISK: u64 = 24 << 20;

/// Lets each write to the disk fail, or it and all that follow.
fn attempt_bad_disks(name: &str, scenario: &Scenario, extent: Extent) {
    let mut bench = Bench::new(*scenario, Medium::Image(DISK), scenario.changes());
    let (image, writes) = bench.writes();
    let mut row = Row::new(name, writes);
    let most = if matches!(extent, Extent::All) { writes } else { SAMPLE_DISKS };
    for (i, number) in sample(writes, most, extent).into_iter().enumerate() {
        for (j, failing) in [Failing::One(number), Failing::From(number)].into_iter().enumerate() {
            let recovery = [Recovery::Resume, Recovery::Again][(i + j) % 2];
            row.add(bench.attempt_bad_disk(&image, failing, recovery));
        }
    }
    row.end(extent);
}

/// Cuts the power at each flush, and between two of them, where any of the writes since the first one can be lost.
fn attempt_power_cuts(name: &str, scenario: &Scenario, extent: Extent) {
    let mut bench = Bench::new(*scenario, Medium::Image(DISK), scenario.changes());
    let (mut image, log, end) = bench.record();
    let flushes: Vec<usize> = (0..log.len()).filter(|&at| matches!(log[at], Entry::Flush)).collect();
    let mut row = Row::new(name, flushes.len());
    // Nothing that was written after this one need be on the disk when the run has ended.
    let last = flushes.iter().rposition(|&at| at < end).expect("a run that is complete has flushed");
    let most = if matches!(extent, Extent::All) { usize::MAX } else { SAMPLE_DISKS };
    let mut chosen = sample(flushes.len(), most, extent);
    chosen.push(last + 1);
    let mut chance = seed(extent);
    let mut from = 0;
    for (index, &at) in flushes.iter().enumerate() {
        log[from..at].iter().for_each(|entry| entry.apply(&mut image));
        from = at;
        if !chosen.contains(&(index + 1)) {
            continue;
        }
        for recovery in [Recovery::Resume, Recovery::Again] {
            let mut cut = image.clone();
            if recovery == Recovery::Again {
                let after = log[at + 1..].iter().take_while(|entry| matches!(entry, Entry::Write(..)));
                after.filter(|_| next(&mut chance).is_multiple_of(2)).for_each(|entry| entry.apply(&mut cut));
            }
            let violation =
                |violation| format!("power cut after flush {} of {}: {violation}", index + 1, flushes.len());
            row.add(bench.attempt_power_cut(&cut, index >= last, recovery).map_err(violation));
        }
    }
    row.end(extent);
}

fn seed(extent: Extent) -> u64 {
    match extent {
        Extent::All => 1,
        Extent::Sample(seed) => seed | 1,
    }
}

/// Marsaglia's xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Returns the calls at which the run is killed from which is recovered then. Where all points of the recovery are tried,
/// it is killed at some of them only, since the number of pairs is that of both runs multiplied; errors are tried once for all
/// kills after which the recovery makes the same calls, however often it repeats one in a row.
fn rounds(total: usize, faults: Faults, extent: Extent) -> Vec<usize> {
    match extent {
        Extent::All if faults == Faults::Kills => (1..=total).step_by((total / 24).max(1)).collect(),
        Extent::All => (1..=total).collect(),
        Extent::Sample(_) => sample(total, Faults::Kills.sample() / 2, extent),
    }
}

/// Returns the points of a run of `total` calls; a sample is divided among `parts`.
fn points(total: usize, faults: Faults, extent: Extent, parts: usize) -> Vec<(Point, Recovery)> {
    let acts = faults.acts();
    let of = |index: usize| Point { number: index / acts.len() + 1, act: acts[index % acts.len()] };
    let every = total * acts.len();
    match extent {
        Extent::All => {
            (0..every).flat_map(|index| [(of(index), Recovery::Resume), (of(index), Recovery::Again)]).collect()
        }
        Extent::Sample(_) => {
            let chosen = sample(every, (faults.sample() / parts).max(1), extent);
            let recoveries = [Recovery::Resume, Recovery::Again];
            chosen.into_iter().enumerate().map(|(i, index)| (of(index - 1), recoveries[i % 2])).collect()
        }
    }
}

/// Returns up to `most` numbers from 1 to `total`: one of each of as many equal parts, chosen by the seed.
fn sample(total: usize, most: usize, extent: Extent) -> Vec<usize> {
    if matches!(extent, Extent::All) {
        return (1..=total).collect();
    }
    let most = most.min(total);
    let mut state = seed(extent);
    (0..most)
        .map(|part| {
            let (from, to) = (part * total / most, (part + 1) * total / most);
            from + usize::try_from(next(&mut state) % (to - from) as u64).expect("a small number") + 1
        })
        .collect()
}

/// Prints the table.
pub(crate) fn print() {
    let mut rows = ROWS.lock().expect("no panic here");
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    if rows.is_empty() {
        return;
    }
    println!(
        "\n{:<22} {:>5} {:>6}  {:<62} {:>10} {:>7}",
        "scenario", "calls", "tried", "outcomes", "violations", "seconds"
    );
    for row in rows.iter() {
        let tried = row.outcomes.values().sum::<usize>() + row.violations.len();
        let outcomes: Vec<String> =
            row.outcomes.iter().map(|(outcome, count)| format!("{outcome:?} {count}")).collect();
        println!(
            "{:<22} {:>5} {:>6}  {:<62} {:>10} {:>7.0}",
            row.name,
            row.calls,
            tried,
            outcomes.join(", "),
            row.violations.len(),
            row.time.as_secs_f32()
        );
    }
}
