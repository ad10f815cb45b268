//! What must hold of a directory of sets after a run that makes one, or that removes some.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::bench::{Bench, INTERRUPTED, Outcome, Violation};
use super::scenario::RESTORE;
use super::trace::{Act, Ended};
use crate::common::tool::Tool;

/// The directory of the sets.
const DIRECTORY: &str = "sets";

/// By name, and then by file name.
pub(super) type Sets = BTreeMap<String, Vec<(String, Vec<u8>)>>;

impl Bench {
    /// Makes two sets, with which each point begins.
    pub(super) fn make_sets(&mut self) {
        // The first one is full, whatever the scenario; the next ones can have changes since.
        let has_changes = self.scenario.args.contains(&"--full-every");
        let args = if has_changes { self.scenario.args } else { &["backup", "--into", DIRECTORY] };
        for _ in 0..2 {
            self.world.voltar(args).ok();
        }
        self.world.take_as_old();
        self.sets = self.sets_now();
    }

    /// Makes a set of the old content, and a later one with what has changed up to the new content, which `backup` holds.
    pub(super) fn make_old_and_new_set(&mut self) {
        let make = ["backup", "--into", DIRECTORY, "--full-every", "30d", "--format", "tar"];
        self.world.voltar(&make).ok();
        let old = self.names_of_sets(false).remove(0);
        self.world.voltar(RESTORE).ok();
        self.world.voltar(&make).ok();
        self.world.voltar(&["restore", &format!("{DIRECTORY}/{old}")]).ok();
        self.world.take_as_old();
    }

    /// Returns what has the name of a set, or any other name that is not hidden.
    fn sets_now(&self) -> Sets {
        self.names_of_sets(false)
            .into_iter()
            .map(|name| {
                let content = self.world.archives(&format!("{DIRECTORY}/{name}"));
                (name, content)
            })
            .collect()
    }

    fn names_of_sets(&self, hidden: bool) -> Vec<String> {
        let entries = fs::read_dir(self.world.at(DIRECTORY)).expect("the directory of sets");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        // The file of a lock locks nothing once its run has ended.
        names.filter(|name| name.starts_with('.') == hidden && name != ".voltar.lock").collect()
    }

    /// Returns what was added outside of the directory of sets.
    fn added_elsewhere(&self) -> Vec<PathBuf> {
        self.world.added().into_iter().filter(|path| !path.starts_with(DIRECTORY)).collect()
    }

    /// Checks what is there when a run has ended, or was killed.
    pub(super) fn check_sets(&self, ended: &Ended, act: Option<Act>) -> Result<Outcome, Violation> {
        Self::check_end(ended)?;
        self.check_lives(Some(false), true)?;
        // The record of the trees that a run reads locks nothing once the run has ended, and the next one removes it.
        let is_record = |path: &&PathBuf| path.to_string_lossy().starts_with("state/backup-");
        let elsewhere = self.added_elsewhere();
        if let Some(left) = elsewhere.iter().find(|path| !is_record(path)) {
            return Err(format!("left behind: {}", left.display()));
        }
        let has_made = self.check_each_set()?;
        let is_pruned = self.check_old_sets(has_made)?;
        let names_what_is_left = ["cannot remove", "is not removed"].iter().any(|named| ended.text.contains(named));
        let is_left = !self.names_of_sets(true).is_empty();
        if is_left && ended.code.is_some() && !names_what_is_left && !matches!(act, Some(Act::FailOn(_))) {
            return Err(format!("not named: left behind: {:?}", self.names_of_sets(true)));
        }
        match ended.code {
            None if act == Some(Act::Kill) => {
                Ok(if has_made == Some(true) { Outcome::KilledNew } else { Outcome::KilledOld })
            }
            None => Err("a signal ended it".to_owned()),
            Some(0 | 1) if has_made == Some(false) => Err("there is no new set".to_owned()),
            Some(0) if is_left || !is_pruned => Err("not all is removed".to_owned()),
            Some(0) => Ok(Outcome::Done),
            Some(1) => Ok(Outcome::Warned),
            Some(2) if act == Some(Act::Signal) => Err("a signal is no error".to_owned()),
            Some(2) if has_made == Some(true) && !ended.text.contains("cannot undo the rename") => {
                Err("there is a new set".to_owned())
            }
            Some(2) if has_made == Some(true) => Ok(Outcome::NotWhole),
            Some(2) => Ok(Outcome::Refused),
            Some(INTERRUPTED) if act == Some(Act::Signal) && has_made == Some(true) => {
                Err("there is a new set".to_owned())
            }
            Some(INTERRUPTED) if act == Some(Act::Signal) => Ok(Outcome::Interrupted),
            Some(_) => Err("an exit status that means something else".to_owned()),
        }
    }

    /// Checks what is there after a power cut; the run had ended if `done`.
    pub(super) fn check_sets_after_power_cut(&self, done: bool) -> Result<Outcome, Violation> {
        self.check_lives(Some(false), true)?;
        let has_made = self.check_each_set()?;
        let is_pruned = self.check_old_sets(has_made)?;
        match (done, has_made) {
            (true, Some(false)) => Err("the new set is gone".to_owned()),
            (true, _) if !is_pruned => Err("a set that was removed is back".to_owned()),
            (true, _) => Ok(Outcome::Done),
            (false, Some(true)) => Ok(Outcome::KilledNew),
            (false, _) => Ok(Outcome::KilledOld),
        }
    }

    /// Checks that each set is an old one, unchanged, or complete. Returns whether there is a new one; `None` if none is to be
    /// made.
    fn check_each_set(&self) -> Result<Option<bool>, Violation> {
        let mut made = 0;
        for (name, content) in self.sets_now() {
            match self.sets.get(&name) {
                Some(old) if *old == content => continue,
                Some(_) => return Err(format!("the set {name} has changed")),
                None => made += 1,
            }
            let at = self.world.at(DIRECTORY).join(&name);
            let sums = Tool::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).dir(&at).run();
            if sums.status.code() != Some(0) || !content.iter().any(|(file, _)| file == "voltar.json") {
                return Err(format!("the set {name} is not complete: {sums}"));
            }
        }
        match (self.makes_set(), made) {
            (true, 0 | 1) => Ok(Some(made == 1)),
            (false, 0) => Ok(None),
            _ => Err(format!("there are {made} new sets")),
        }
    }

    /// Checks that no set is gone that is kept. Returns whether all others are.
    fn check_old_sets(&self, has_made: Option<bool>) -> Result<bool, Violation> {
        let now = self.sets_now();
        let (newest, _) = self.sets.last_key_value().expect("two sets");
        let is_kept = |name: &String| match has_made {
            _ if !self.prunes() => true,
            // The only one that is kept is the new one.
            Some(true) => false,
            Some(false) => true,
            None => name == newest,
        };
        if let Some(gone) = self.sets.keys().find(|name| is_kept(name) && !now.contains_key(*name)) {
            return Err(format!("the set {gone} is gone"));
        }
        Ok(self.sets.keys().all(|name| is_kept(name) || !now.contains_key(name)))
    }

    /// Runs the scenario to its end.
    pub(super) fn recover_sets(&self, outcome: Outcome) -> Result<Outcome, Violation> {
        let before = self.sets_now();
        self.clean(self.scenario.args)?;
        let elsewhere = self.added_elsewhere();
        if !elsewhere.is_empty() {
            return Err(format!("the next run has left: {elsewhere:?}"));
        }
        if !self.names_of_sets(true).is_empty() {
            return Err(format!("the next run has left: {:?}", self.names_of_sets(true)));
        }
        let now = self.sets_now();
        let expected = match (self.prunes(), self.makes_set()) {
            (true, _) => 1,
            (false, made) => before.len() + usize::from(made),
        };
        if now.len() != expected {
            return Err(format!("the next run: there are {} sets, not {expected}", now.len()));
        }
        self.check_lives(Some(false), true)?;
        Ok(outcome)
    }

    fn makes_set(&self) -> bool {
        self.scenario.args[0] == "backup"
    }

    fn prunes(&self) -> bool {
        self.scenario.args.contains(&"--keep-last")
    }
}
