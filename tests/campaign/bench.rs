//! Runs a scenario with a fault at one point, recovers, and checks what must hold.

use super::archives::Archives;
use super::calls::Counted;
use super::recorder::{Entry, Failing, Recorder};
use super::scenario::{Kind, RESTORE, Scenario};
use super::sets::Sets;
use super::trace::{self, Act, Ended, Point};
use super::world::{Host, Medium, Mount, Room, State, World};

/// How a point ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The run had ended before.
    NotReached,
    /// It was killed; all is old after recovery.
    KilledOld,
    /// It was killed; all is new after recovery.
    KilledNew,
    /// It was killed or ended while it wrote into a live tree, and said so; the next run completed it.
    Mixed,
    /// It went on, and is complete.
    Done,
    /// It is complete but for what it has named.
    Warned,
    /// It changed nothing.
    Refused,
    /// It changed nothing, since a signal asked it to end.
    Interrupted,
    /// It said that a live tree or a directory of archives is neither old nor new, or that this is not decided; recovery made it
    /// one of them.
    NotWhole,
}

/// A scenario that is ready to be tried at any point.
pub(crate) struct Bench {
    pub(crate) scenario: Scenario,
    pub(super) world: World,
    /// The calls of a run in which nothing happens.
    pub(crate) total: usize,
    /// The archives before and after such a run.
    pub(super) archives: [Archives; 2],
    /// The sets with which each point begins: for [`Kind::Sets`].
    pub(super) sets: Sets,
    /// The call of the command before this one at which that was killed; 0 if there is none.
    pub(crate) killed_at: usize,
    /// The number of disks so far that were mounted as a power cut or an error has left them.
    cuts: usize,
    /// The calls that are points.
    pub(super) counted: Counted,
}

/// What a violation is, in words.
pub(crate) type Violation = String;

/// What recovers after a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// `voltar resume`, then the same command again.
    Resume,
    /// The same command again.
    Again,
}

impl Bench {
    /// Makes the world, and runs the command once without any fault.
    pub(crate) fn new(scenario: Scenario, medium: Medium, counted: Counted) -> Self {
        // A backup warns of them.
        let has_sockets = !matches!(scenario.kind, Kind::Backup | Kind::Sets) && !scenario.restores_set();
        let world = World::new(scenario.archives, has_sockets, medium, scenario.host);
        let archives = [Vec::new(), Vec::new()];
        let sets = Sets::new();
        let mut this = Self { scenario, world, total: 0, archives, sets, killed_at: 0, cuts: 0, counted };
        this.archives[0] = this.archives_now();
        if scenario.kind == Kind::Recovery {
            this.total = this.measure(scenario.killed, scenario.changes());
            return this;
        }
        if scenario.kind == Kind::Verify {
            this.world.voltar(RESTORE).ok();
            this.world.take_as_old();
        }
        if scenario.kind == Kind::Sets {
            this.make_sets();
        } else if scenario.restores_set() {
            this.make_old_and_new_set();
        }
        this.total = this.measure(scenario.args, counted);
        this.archives[1] = this.archives_now();
        if scenario.kind == Kind::Backup {
            assert_ne!(this.archives[0], this.archives[1], "the backup changes something");
        } else if this.is_merge() {
            this.world.take_as_new();
        }
        this.check_new().unwrap_or_else(|violation| panic!("{}, without a fault: {violation}", scenario.name));
        if scenario.is_after_kill() {
            this.total = this.measure(scenario.killed, scenario.changes());
        }
        this
    }

    fn measure(&self, args: &[&str], counted: Counted) -> usize {
        self.world.reset();
        let ended = self.traced(args, counted, None);
        assert_eq!(ended.code, Some(0), "{}: a run without a fault: {}", self.scenario.name, ended.text);
        ended.calls.len()
    }

    /// Returns another one of the same kind, with a world of its own.
    pub(crate) fn another(&self) -> Self {
        Self { killed_at: self.killed_at, ..Self::new(self.scenario, Medium::Scratch, self.counted) }
    }

    /// Returns how many of its kind get the most points done. With an engine, points mostly wait.
    pub(crate) fn at_a_time(&self) -> usize {
        match self.scenario.host {
            Host::Engine => 8,
            Host::DataRoot => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Makes the world in which the command of the scenario begins.
    fn begin(&self) {
        self.world.reset();
        if self.killed_at > 0 {
            self.traced(
                self.scenario.killed,
                self.scenario.changes(),
                Some(Point { number: self.killed_at, act: Act::Kill }),
            );
        }
    }

    /// Lets the command before this one be killed at `killed_at`, or not run if that is 0, and returns the names of the calls
    /// that this one makes after it.
    pub(crate) fn killed_at(&mut self, killed_at: usize) -> Vec<String> {
        self.killed_at = killed_at;
        self.begin();
        let calls = self.traced(self.scenario.args, self.counted, None).calls;
        calls.iter().map(|call| call.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    fn traced(&self, args: &[&str], counted: Counted, point: Option<Point>) -> Ended {
        trace::run(&self.world.command(args), self.world.scratch(), &self.world.root(), counted, point)
    }

    /// Runs the scenario with a point, recovers, and runs it again.
    pub(crate) fn attempt(&self, point: Point, recovery: Recovery) -> Result<Outcome, Violation> {
        self.begin();
        let ended = self.traced(self.scenario.args, self.counted, Some(point));
        let reached = ended.calls.len() >= point.number;
        if self.scenario.kind == Kind::Sets {
            let outcome = self.check_sets(&ended, Some(point.act)).and_then(|outcome| self.recover_sets(outcome));
            let outcome = outcome.map(|outcome| if reached { outcome } else { Outcome::NotReached });
            let point = format!("{:?} at {} ({})", point.act, point.number, ended.at(point));
            return outcome.map_err(|violation| self.describe_violation(&point, recovery, &ended, &violation));
        }
        let outcome = self.world.check_started().and_then(|()| match (ended.code, point.act) {
            (None, Act::Kill) if reached => self.check_killed(),
            (Some(INTERRUPTED), Act::Signal) if reached => self.check_interrupted(&ended),
            (Some(2), Act::Signal) => Err("a signal is no error".to_owned()),
            _ => self.check(&ended, matches!(point.act, Act::FailOn(_))),
        });
        let outcome = outcome.and_then(|outcome| match outcome {
            // Whatever it has not read, it must not call verified.
            Outcome::Done if reached && self.scenario.kind == Kind::Verify && point.act != Act::Signal => {
                let is_optional = is_optional(ended.at(point), point.act);
                if is_optional { Ok(outcome) } else { Err("a failed read is not noticed".to_owned()) }
            }
            _ => Ok(outcome),
        });
        let outcome = outcome.map(|outcome| if reached { outcome } else { Outcome::NotReached });
        outcome.and_then(|outcome| self.recover(outcome, recovery)).map_err(|violation| {
            let after = if self.killed_at > 0 { format!(" after a kill at {}", self.killed_at) } else { String::new() };
            let point = format!("{:?} at {} ({}){after}", point.act, point.number, ended.at(point));
            self.describe_violation(&point, recovery, &ended, &violation)
        })
    }

    /// Runs the scenario on a disk that has only so much room, recovers when it has more, and runs it again.
    pub(crate) fn attempt_full(&self, room: Room, recovery: Recovery) -> Result<Outcome, Violation> {
        self.begin();
        self.world.fill(room);
        let ended = self.traced(self.scenario.args, self.counted, None);
        let outcome = if self.scenario.kind == Kind::Sets {
            self.check_sets(&ended, None)
        } else {
            self.world.check_started().and_then(|()| self.check(&ended, false))
        };
        self.world.empty();
        let outcome = outcome.and_then(|outcome| match self.scenario.kind {
            Kind::Sets => self.recover_sets(outcome),
            _ => self.recover(outcome, recovery),
        });
        outcome.map_err(|violation| self.describe_violation(&format!("{room:?} left"), recovery, &ended, &violation))
    }

    /// Runs the scenario on a disk that is recorded; returns its content before, what happened, and how much of that had
    /// happened when the run had ended.
    pub(crate) fn record(&mut self) -> (Vec<u8>, Vec<Entry>, usize) {
        self.begin();
        let image = self.world.take_image();
        let at = self.world.scratch().join("recorded");
        std::fs::create_dir(&at).expect("a directory");
        let recorder = Recorder::new(&at, image.clone());
        self.world.mount(&Recorder::image(&at));
        let begin = recorder.len();
        self.world.voltar(self.scenario.args).ok();
        let end = recorder.len();
        self.world.unmount();
        let mut log = recorder.end();
        // What mounting has written is there in any case.
        let mut image = image;
        log.drain(..begin).for_each(|entry| entry.apply(&mut image));
        (image, log, end - begin)
    }

    /// Makes the disk as it was when the power was cut, recovers, and runs the scenario again. The run had ended if `done`.
    pub(crate) fn attempt_power_cut(
        &mut self,
        image: &[u8],
        done: bool,
        recovery: Recovery,
    ) -> Result<Outcome, Violation> {
        let outcome = self.on_another_disk(image, |this| {
            if this.scenario.kind == Kind::Sets {
                return this.check_sets_after_power_cut(done).and_then(|outcome| this.recover_sets(outcome));
            }
            let outcome = if done { this.check_new().map(|()| Outcome::Done) } else { this.check_killed() };
            outcome.and_then(|outcome| this.recover(outcome, recovery))
        });
        outcome.map_err(|violation| format!("{}: recovered by {recovery:?}: {violation}", self.scenario.name))
    }

    /// Returns the content of the disk before the scenario, and the number of writes to it until its end.
    pub(crate) fn writes(&mut self) -> (Vec<u8>, usize) {
        let (image, log, end) = self.record();
        (image, log[..end].iter().filter(|entry| matches!(entry, Entry::Write(..))).count())
    }

    /// Runs the scenario on a disk that fails, mounts what is on it as another one, recovers, and runs it again.
    pub(crate) fn attempt_bad_disk(
        &mut self,
        image: &[u8],
        failing: Failing,
        recovery: Recovery,
    ) -> Result<Outcome, Violation> {
        let at = self.world.scratch().join("recorded");
        let recorder = Recorder::of_whole_writes(&at, image.to_vec());
        self.world.mount(&Recorder::image(&at));
        recorder.fail(failing);
        let ended = self.traced(self.scenario.args, self.counted, None);
        self.world.unmount();
        let image = recorder.take_content();
        let outcome = self.on_another_disk(&image, |this| {
            let outcome = this.check_after_bad_disk(&ended)?;
            this.recover(outcome, recovery)
        });
        outcome.map_err(|violation| self.describe_violation(&format!("{failing:?}"), recovery, &ended, &violation))
    }

    /// Checks what a run has said on a disk that failed. What is there shows only after recovery, since not all that it did
    /// has reached the disk.
    fn check_after_bad_disk(&self, ended: &Ended) -> Result<Outcome, Violation> {
        Self::check_end(ended)?;
        match ended.code {
            Some(0) => self.check_new().map(|()| Outcome::Done),
            Some(1) if self.scenario.kind == Kind::Backup => Ok(Outcome::Warned),
            Some(1) => {
                self.clean(&["resume"])?;
                self.check_lives(Some(true), true)?;
                Ok(Outcome::Warned)
            }
            Some(2) if says_not_whole(&ended.text) => Ok(Outcome::NotWhole),
            Some(2) => Ok(Outcome::Refused),
            code => Err(format!("an exit status that means something else: {code:?}")),
        }
    }

    /// Mounts a disk with this content for `check`.
    fn on_another_disk<R>(&mut self, image: &[u8], check: impl FnOnce(&Self) -> R) -> R {
        // Another file each time: the loop device of the last one may still exist, and have its pages.
        self.cuts += 1;
        let file = self.world.scratch().join(format!("cut-{}", self.cuts));
        std::fs::write(&file, image).expect("an image");
        self.world.mount(&file);
        self.world.restart();
        let result = check(self);
        self.world.unmount();
        std::fs::remove_file(&file).expect("removing the image");
        result
    }

    fn describe_violation(&self, point: &str, recovery: Recovery, ended: &Ended, violation: &str) -> Violation {
        let said = ended.text.trim_end().replace('\n', "\n    ");
        format!(
            "{}: {point}, recovered by {recovery:?}: status {:?}: {violation}\n    it said: {said}",
            self.scenario.name, ended.code,
        )
    }

    /// Checks what is there when a run has ended by itself, and what it said. Calls went on failing if that `goes_on`.
    fn check(&self, ended: &Ended, goes_on: bool) -> Result<Outcome, Violation> {
        Self::check_end(ended)?;
        match ended.code {
            Some(0) => self.check_new().map(|()| Outcome::Done),
            Some(1) => self.check_warned(&ended.text, goes_on),
            Some(2) => self.check_refused(&ended.text, goes_on),
            Some(_) => Err("an exit status that means something else".to_owned()),
            None => Err("a signal ended it".to_owned()),
        }
    }

    pub(super) fn check_end(ended: &Ended) -> Result<(), Violation> {
        if ended.hung {
            return Err("it does not end".to_owned());
        }
        if ended.text.contains("bug in voltar") || ended.text.contains("panicked") {
            return Err("it panicked".to_owned());
        }
        Ok(())
    }

    /// A signal changes as little as an error does.
    fn check_interrupted(&self, ended: &Ended) -> Result<Outcome, Violation> {
        Self::check_end(ended)?;
        if !ended.text.contains("voltar: interrupted") {
            return Err("it does not say that it was interrupted".to_owned());
        }
        let outcome = self.check_refused(&ended.text, false)?;
        Ok(if outcome == Outcome::Refused { Outcome::Interrupted } else { outcome })
    }

    fn check_killed(&self) -> Result<Outcome, Violation> {
        match self.scenario.kind {
            Kind::Backup => {
                self.check_lives(Some(false), true)?;
                self.check_complete()?;
                Ok(Outcome::KilledOld)
            }
            // Recovery shows which of the two it is; of sets `check_sets` does.
            Kind::Replace | Kind::Recovery | Kind::Sets => Ok(Outcome::KilledOld),
            Kind::Write => Ok(Outcome::Mixed),
            Kind::Verify => self.check_unchanged().map(|()| Outcome::KilledOld),
        }
    }

    /// After status 0 nothing is missing, and nothing is left behind.
    fn check_new(&self) -> Result<(), Violation> {
        match self.scenario.kind {
            Kind::Backup => {
                self.check_lives(Some(false), true)?;
                self.check_archives(1)
            }
            Kind::Verify => self.check_unchanged(),
            Kind::Sets => return Ok(()),
            Kind::Replace | Kind::Write => self.check_lives(Some(true), true).map(drop),
            // The restore before may have been completed or undone.
            Kind::Recovery => self.check_lives((self.scenario.args != ["resume"]).then_some(true), true).map(drop),
        }?;
        self.check_nothing_left()
    }

    /// A command that only reads has changed nothing.
    fn check_unchanged(&self) -> Result<(), Violation> {
        self.check_lives(Some(false), true)?;
        self.check_archives(0)?;
        self.check_nothing_left()
    }

    /// After status 1 everything is there but what the messages name.
    fn check_warned(&self, text: &str, goes_on: bool) -> Result<Outcome, Violation> {
        if self.scenario.args == ["resume"] {
            // What it names stays on record, and is recovered by the next run.
            let named = ["is not recovered", "cannot remove", "cannot write"].iter().any(|named| text.contains(named));
            return if named { Ok(Outcome::NotWhole) } else { Err("what is not recovered is not named".to_owned()) };
        }
        if self.scenario.kind == Kind::Verify {
            self.check_unchanged()?;
        } else if self.scenario.kind == Kind::Backup {
            self.check_lives(Some(false), true)?;
            self.check_archives_but_for(text)?;
        } else {
            let left = self.check_nothing_left().is_err();
            for live in &self.world.lives {
                let unnamed = self.world.unnamed(live, text, !left && !self.is_merge());
                if !unnamed.is_empty() {
                    return Err(format!("what is missing is not named: {}", unnamed.join("; ")));
                }
            }
        }
        self.check_left_is_named(text, goes_on)?;
        Ok(Outcome::Warned)
    }

    /// After status 2 nothing is changed.
    fn check_refused(&self, text: &str, goes_on: bool) -> Result<Outcome, Violation> {
        if self.scenario.kind == Kind::Write && text.contains(MIX) {
            return Ok(Outcome::Mixed);
        }
        if says_not_whole(text) {
            // A recovery that fails leaves what it has found.
            if !goes_on && !self.scenario.is_after_kill() {
                return Err("one error is no reason to leave a tree that is neither old nor new".to_owned());
            }
            return Ok(Outcome::NotWhole);
        }
        match self.scenario.kind {
            Kind::Backup => {
                self.check_lives(Some(false), true)?;
                // The backup before may have been completed by it, or not yet.
                if self.scenario.is_after_kill() { self.check_complete()? } else { self.check_archives(0)? }
            }
            Kind::Verify => self.check_unchanged()?,
            // The next run removes it. The other trees have changed as little as the archives.
            Kind::Replace if text.contains(VOLUME_LEFT) => {
                for live in self.world.lives.iter().filter(|live| live.mount != Mount::Created) {
                    let state = self.world.state(live, false);
                    if state != State::Old {
                        return Err(format!("{} is not as it was: {state:?}", live.name));
                    }
                }
                return Ok(Outcome::Refused);
            }
            Kind::Replace | Kind::Write => {
                self.check_lives(Some(false), self.check_nothing_left().is_ok()).map(drop)?;
            }
            // The restore before may have been undone by it, or not yet.
            Kind::Recovery | Kind::Sets => {}
        }
        if !self.scenario.is_after_kill() {
            self.check_left_is_named(text, goes_on)?;
        }
        Ok(Outcome::Refused)
    }

    /// Recovers, checks that all is old or all is new, and runs the scenario to its end.
    fn recover(&self, outcome: Outcome, recovery: Recovery) -> Result<Outcome, Violation> {
        let mut outcome = outcome;
        if self.scenario.kind == Kind::Verify {
            self.clean(self.scenario.args)?;
            return self.check_unchanged().map(|()| outcome);
        }
        if recovery == Recovery::Resume && self.recovers_lives() {
            self.clean(&["resume"])?;
            self.world.check_running()?;
            if self.scenario.kind == Kind::Backup {
                self.check_lives(Some(false), true)?;
            } else if outcome == Outcome::Mixed {
                self.check_nothing_left()?;
            } else {
                let expected = match outcome {
                    Outcome::Done | Outcome::NotReached => Some(true),
                    Outcome::Refused | Outcome::Interrupted => Some(false),
                    _ => None,
                };
                let expected = expected.filter(|_| self.scenario.kind != Kind::Recovery);
                // What a warning has named may be missing.
                if outcome != Outcome::Warned {
                    let is_new = self.check_lives(expected, true)?;
                    if outcome == Outcome::KilledOld && is_new {
                        outcome = Outcome::KilledNew;
                    }
                }
                self.check_nothing_left()?;
            }
        }
        if self.scenario.kind == Kind::Backup {
            // What was skipped is named, which was checked: those archives are neither of the two.
            if (outcome, self.counted) != (Outcome::Warned, Counted::Reads) {
                self.check_complete()?;
            }
            if recovery == Recovery::Resume {
                // There may be no archive yet, which is an error.
                self.world.voltar(&["verify", self.scenario.args[1]]).run();
                let now = self.archives_now();
                match (outcome, self.archives.iter().position(|archives| *archives == now)) {
                    (Outcome::Warned, None) if self.counted == Counted::Reads => {}
                    (_, None) => return Err(format!("archives of two backups: {}", self.describe(&now))),
                    (Outcome::KilledOld, Some(1)) => outcome = Outcome::KilledNew,
                    (Outcome::Refused | Outcome::Interrupted, Some(1)) if self.scenario.is_after_kill() => {}
                    (Outcome::Done | Outcome::Warned, Some(0)) | (Outcome::Refused | Outcome::Interrupted, Some(1)) => {
                        return Err("recovery has changed the archives".to_owned());
                    }
                    _ => {}
                }
            }
            let mut args = self.scenario.args.to_vec();
            if !args.contains(&"--overwrite") {
                args.push("--overwrite");
            }
            self.clean(&args)?;
        } else {
            self.clean(if self.scenario.kind == Kind::Recovery { self.scenario.killed } else { self.scenario.args })?;
        }
        self.check_containers(recovery)?;
        if self.scenario.kind == Kind::Recovery {
            self.check_lives(Some(true), true).map(drop)
        } else {
            self.check_new()
        }
        .map_err(|violation| format!("the next run: {violation}"))?;
        self.check_nothing_left().map_err(|violation| format!("the next run: {violation}"))?;
        Ok(outcome)
    }

    /// A backup leaves nothing to `resume` but containers.
    fn recovers_lives(&self) -> bool {
        self.scenario.kind != Kind::Backup || self.scenario.host == Host::Engine
    }

    /// Checks that the containers are running again. Those that a killed run left stopped are started by `resume` only.
    fn check_containers(&self, recovery: Recovery) -> Result<(), Violation> {
        if recovery == Recovery::Again && self.scenario.host == Host::Engine {
            self.clean(&["resume"])?;
        }
        self.world.check_started()?;
        self.world.check_running()
    }

    /// Runs a command in which nothing fails.
    pub(super) fn clean(&self, args: &[&str]) -> Result<(), Violation> {
        let outcome = self.world.voltar(args).run();
        if outcome.status.code() == Some(0) { Ok(()) } else { Err(format!("the next run: {outcome}")) }
    }

    /// Checks that all live trees are old, or all new: as `expected`, if that is known. Returns whether they are new.
    pub(super) fn check_lives(&self, expected: Option<bool>, strict: bool) -> Result<bool, Violation> {
        let mut all = expected;
        for live in &self.world.lives {
            let is_new = match self.world.state(live, strict && !self.is_merge()) {
                State::Old => false,
                State::New => true,
                State::Neither(difference) => return Err(format!("neither old nor new: {difference}")),
            };
            if *all.get_or_insert(is_new) != is_new {
                let which = if is_new { "new" } else { "old" };
                return Err(format!("{} ({:?}) is {which}, unlike it should", live.name, live.mount));
            }
        }
        Ok(all == Some(true))
    }

    /// Checks that no file is there that was not there before, but for those that were asked for, and that none is missing.
    fn check_nothing_left(&self) -> Result<(), Violation> {
        let removed = self.world.removed();
        if !removed.is_empty() {
            return Err(format!("not there any more: {removed:?}"));
        }
        let left = self.left();
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        if !self.keeps() {
            return Ok(());
        }
        for live in &self.world.lives {
            for kept in self.world.kept(live) {
                if kept != live.old && kept != live.new {
                    return Err(format!("the kept tree is neither old nor new: {}", live.old.diff(&kept).join("; ")));
                }
            }
        }
        Ok(())
    }

    fn left(&self) -> Vec<String> {
        let added = self.world.added().into_iter().map(|path| path.display().to_string());
        let expected = |path: &String| match self.scenario.kind {
            Kind::Backup => {
                let complete = self.archives_now() == self.archives[1];
                let target = self.scenario.args[1];
                let name = path.strip_prefix(target).map(|rest| rest.trim_start_matches('/'));
                complete
                    && (target.starts_with(path.as_str())
                        || name.is_some_and(|name| self.archives[1].iter().any(|one| one.0 == name)))
            }
            _ => self.keeps() && (path.contains("/.voltar-previous-") || path.starts_with("state/kept-")),
        };
        added.filter(|path| !expected(path)).collect()
    }

    /// One failed call may be the one that removes something. If no call succeeds any more, nothing can be removed.
    fn check_left_is_named(&self, text: &str, goes_on: bool) -> Result<(), Violation> {
        match self.check_nothing_left() {
            Err(left) if !goes_on && !LEFT_NAMED.iter().any(|named| text.contains(named)) => {
                Err(format!("not named: {left}"))
            }
            _ => Ok(()),
        }
    }

    fn keeps(&self) -> bool {
        self.scenario.args.contains(&"--keep-previous")
    }

    fn is_merge(&self) -> bool {
        self.scenario.args.contains(&"--merge")
    }
}

/// Returns whether a comparison is complete although this one call failed: what it looks for there is a reason to refuse,
/// or to look again, and not what it compares. Archives are read twice, first for what helps to plan.
fn is_optional(call: &str, act: Act) -> bool {
    let content = ["read ", "pread64 ", "getdents64 ", "readlinkat "].iter().any(|name| call.starts_with(name));
    let is_compared = ["/one", "/two"].iter().any(|part| call.contains(part)) && !call.contains("backup/");
    matches!(act, Act::Fail(_)) && !(content && is_compared)
}

fn says_not_whole(text: &str) -> bool {
    NOT_WHOLE.iter().chain(&[TWO_BACKUPS, UNDECIDED]).any(|said| text.contains(said))
}

/// The exit status of a run that a signal has ended.
pub(super) const INTERRUPTED: i32 = 130;

/// What a run says that has left a tree neither old nor new.
const NOT_WHOLE: [&str; 2] = ["cannot make the old tree live again", "cannot undo the restore into"];

/// What a run says that has left something behind.
const LEFT_NAMED: [&str; 5] = [
    "cannot remove",
    "is still there",
    "stays on record",
    "the next run, or `voltar resume`",
    "not every container was started again",
];

/// What a restore says that could not remove a volume which it has created.
const VOLUME_LEFT: &str = "a volume which was created may be left";

/// What a backup says of its directory when some of its archives have their names and others do not.
const TWO_BACKUPS: &str = "archives of two backups";

/// What a backup says that could not withdraw its announcement.
const UNDECIDED: &str = "the next command on that directory gives them their names";

/// What `--merge` and `--in-place` say after they have changed something.
const MIX: &str = "a mix of old and restored files";
