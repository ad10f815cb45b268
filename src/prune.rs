//! Removes sets that a policy does not keep.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::durable::run_lock::RunLock;
use crate::error::Result;
use crate::manifest::Manifest;
use crate::monitor::Monitor;
use crate::plan::retention::{Policy, Reason};
use crate::store::{Listed, Set, SetName, Sets};
use crate::units;

/// The arguments of a prune.
#[derive(Debug, Clone)]
pub struct PruneRequest {
    /// The directory of the sets.
    pub sets: Sets,
    /// Which of them are kept.
    pub policy: Policy,
    /// How long another run is waited for.
    pub wait: Duration,
}

/// What is done with each complete set.
#[derive(Debug)]
pub struct Pruning {
    /// The sets, the oldest one first.
    pub sets: Vec<Judged>,
    /// The names of directories that are named as sets and are not complete: they stay.
    pub incomplete: Vec<SetName>,
}

/// A complete set and why it is kept.
#[derive(Debug)]
pub struct Judged {
    /// Its name.
    pub name: SetName,
    /// The length of its archives in bytes.
    pub bytes: u64,
    /// The reasons; it is removed if there is none.
    pub reasons: Vec<Reason>,
}

/// Returns which sets a prune removes. Only complete ones are counted.
///
/// # Errors
/// The directory cannot be listed.
pub fn judge(sets: &Sets, policy: &Policy) -> Result<Pruning> {
    let (complete, incomplete): (Vec<Listed>, Vec<Listed>) =
        sets.list()?.into_iter().partition(|listed| listed.complete().is_some());
    let times: Vec<Timestamp> = complete.iter().map(|listed| listed.name.time()).collect();
    let mut reasons = policy.reasons(&times, &TimeZone::system());
    keep_bases(&complete, &mut reasons);
    let judged = complete.iter().zip(reasons).map(|(listed, reasons)| Judged {
        name: listed.name,
        bytes: listed.complete().map(Set::manifest).map_or(0, Manifest::bytes),
        reasons,
    });
    Ok(Pruning { sets: judged.collect(), incomplete: incomplete.iter().map(|listed| listed.name).collect() })
}

/// Keeps the sets that others need which are kept.
fn keep_bases(sets: &[Listed], reasons: &mut [Vec<Reason>]) {
    let needed: BTreeSet<String> = sets
        .iter()
        .zip(&*reasons)
        .filter(|(_, reasons)| !reasons.is_empty())
        .filter_map(|(listed, _)| listed.complete())
        .flat_map(|set| set.manifest().bases().into_iter().map(str::to_owned))
        .collect();
    for (listed, reasons) in sets.iter().zip(reasons) {
        if needed.contains(&listed.name.to_string()) {
            reasons.push(Reason::Base);
        }
    }
}

/// Removes the sets that the policy does not keep. One that cannot be removed is an issue.
///
/// # Errors
/// The directory cannot be listed or locked, or the run was cancelled; sets that were removed by then are gone.
pub fn prune(request: &PruneRequest, monitor: &dyn Monitor) -> Result<()> {
    let lock = request.sets.lock("prune", request.wait, monitor)?;
    request.sets.recover(&lock)?.report(monitor);
    prune_locked(&request.sets, &request.policy, None, &lock, monitor)
}

/// The same, by a run that has the lock and has recovered the directory. The set that it has just `made` stays: if the clock was
/// set back, others count as newer.
pub(crate) fn prune_locked(
    sets: &Sets,
    policy: &Policy,
    made: Option<SetName>,
    lock: &RunLock,
    monitor: &dyn Monitor,
) -> Result<()> {
    let Pruning { sets: judged, incomplete } = judge(sets, policy)?;
    for name in incomplete {
        monitor.note(&format!("{name} is not complete, and stays"));
    }
    let is_removed = |judged: &Judged| judged.reasons.is_empty() && Some(judged.name) != made;
    for Judged { name, bytes, .. } in judged.into_iter().filter(is_removed) {
        monitor.check_cancelled()?;
        match sets.remove(name, lock) {
            Ok(()) => monitor.note(&format!("removed the set {name} ({})", units::bytes(bytes))),
            Err(error) => monitor.issue("", error.with_hint()),
        }
    }
    Ok(())
}
