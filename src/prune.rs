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
    /// The directories that are named as sets and are not complete: they stay.
    pub incomplete: Vec<Listed>,
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
    keep_bases(&complete, &incomplete, &mut reasons);
    let judged = complete.iter().zip(reasons).map(|(listed, reasons)| Judged {
        name: listed.name,
        bytes: listed.complete().map(Set::manifest).map_or(0, Manifest::bytes),
        reasons,
    });
    Ok(Pruning { sets: judged.collect(), incomplete })
}

/// Keeps the sets that others need which stay. If it cannot be read what one of them needs, that may be any full set before it.
fn keep_bases(complete: &[Listed], incomplete: &[Listed], reasons: &mut [Vec<Reason>]) {
    let kept = complete.iter().zip(&*reasons).filter(|(_, reasons)| !reasons.is_empty()).map(|(listed, _)| listed);
    let needed: BTreeSet<String> = kept.chain(incomplete).filter_map(|listed| listed.bases.clone()).flatten().collect();
    let last_unread = incomplete.iter().filter(|listed| listed.bases.is_none()).map(|listed| listed.name).max();
    for (listed, reasons) in complete.iter().zip(reasons) {
        let is_full = listed.complete().is_some_and(|set| set.indexes().next().is_some());
        if needed.contains(&listed.name.to_string())
            || (is_full && last_unread.is_some_and(|unread| listed.name < unread))
        {
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
    for listed in incomplete {
        let is_unread = listed.is_unread();
        let Listed { name, set: Err(error), bases, .. } = listed else { continue };
        let what = if bases.is_none() { "stays, and so does each full set before it" } else { "stays" };
        if is_unread || bases.is_none() {
            let error = error.within(format!("{name} {what}"));
            monitor.issue("", error.hint("fix the cause, or remove it by hand if nothing in it is needed").with_hint());
        } else {
            monitor.note(&format!("{name} is not complete, and stays"));
        }
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
