//! Plans computed from an inventory and the scripted facts of a machine, without disk, engine or root.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::backup::{self, BackupPlan, BackupRequest, Estimate};
use super::changes::{Full, FullArchives};
use super::comparison::{self, ComparisonRequest};
use super::extraction::{self, ExtractionRequest};
use super::facts::{Facts, Occupied};
use super::measure::{Decompression, Measure, Measured};
use super::restore::{self, RestorePlan, RestoreRequest};
use super::scope::PlannedScope;
use super::*;
use crate::check::Check;
use crate::codec::Format;
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::exclude::{Exclude, Pattern};
use crate::extractor::{Input, Mode, Need, Origin, Parts};
use crate::filesystem::Filesystem;
use crate::host::mounts::{MountTree, TreeMount};
use crate::host::{Host, Mount, MountKind, StopOutcome, Volume};
use crate::identity::FileId;
use crate::ids::IdMap;
use crate::layout::Layout;
use crate::live_mounts::LiveMount;
use crate::manifest::{ArchiveRecord, FileRecord};
use crate::member::RelPath;
use crate::postgres::{Cluster, MajorVersion};
use crate::report::plan::{BackupDocument, RestoreDocument, backup_text, restore_text};
use crate::resolve::Selection;
use crate::store::directory::Condition;
use crate::store::{Destination, Directory, Location, SetName, Sink, Source};
use crate::volume::live::{LiveKind, Way};
use crate::volume::restore_record::Unfinished;
use crate::volume::room::Room;

/// The facts of a machine, as scripted by a test.
#[derive(Debug, Clone)]
struct Script {
    unreal: Vec<Error>,
    unfinished: Vec<Unfinished>,
    measured: Result<Measured>,
    /// The error of comparing a tree with the index of a full archive.
    index: Option<Error>,
    condition: Condition,
    occupied: Occupied,
    archives: Vec<&'static str>,
    files: Vec<&'static str>,
    archive_bytes: u64,
    /// What each archive needs in each of its mounts.
    need: Result<Need>,
    decompress_time: Option<Duration>,
    /// The length of an archive that is not compressed.
    uncompressed_bytes: u64,
    /// The error of looking for the parts of an archive.
    parts: Option<Error>,
    /// The prefix of every archive's members.
    prefix: Option<&'static str>,
    damaged: Option<Error>,
    way: Way,
    mounted_below: Vec<PathBuf>,
    room: Room,
    holds_entries: bool,
    state_dir: &'static Path,
    /// The clusters in the first members of every archive.
    clusters: Vec<Cluster>,
    /// The version of the cluster in every volume.
    live_version: Option<MajorVersion>,
    /// How often the mounts were found: each time others, if they are replaced all the time.
    found: Cell<u64>,
    replaced: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            unreal: Vec::new(),
            unfinished: Vec::new(),
            measured: Ok(Measured { members: 9, archive_bytes: 1000, database: true, ..Measured::default() }),
            index: None,
            condition: Condition {
                lineage: lineage(Path::new("/backup")),
                used_bytes: None,
                free_bytes: Some(1_000_000),
                obstacle: None,
            },
            occupied: Occupied::No,
            archives: vec!["db.tar.bz2", "media.tar.gz"],
            files: Vec::new(),
            archive_bytes: 1000,
            need: Ok(Need { bytes: 1000, inodes: 10 }),
            decompress_time: None,
            uncompressed_bytes: 3000,
            parts: None,
            prefix: None,
            damaged: None,
            way: Way::Exchange,
            mounted_below: Vec::new(),
            room: Room { bytes: 1_000_000, inodes: Some(1000), block: 1, is_exact: true },
            holds_entries: true,
            state_dir: Path::new("/var/lib/voltar"),
            clusters: Vec::new(),
            live_version: None,
            found: Cell::new(0),
            replaced: false,
        }
    }
}

impl Facts for Script {
    fn unreal(&self, _: &MountTree, _: &[Volume]) -> Result<Vec<Error>> {
        Ok(self.unreal.clone())
    }

    fn unfinished(&self, _: &MountTree) -> Result<Vec<Unfinished>> {
        Ok(self.unfinished.clone())
    }

    fn live_mounts(&self, tree: &MountTree) -> Result<Vec<LiveMount>> {
        self.found.update(|times| times + u64::from(self.replaced));
        let lineage_of = |mount: &TreeMount| {
            let mut lineage = lineage(&mount.root());
            lineage[0].device += self.found.get();
            lineage
        };
        let live = |mount: &TreeMount| LiveMount {
            at: mount.at.clone(),
            path: mount.root(),
            kind: LiveKind::Directory,
            way: self.way,
            lineage: lineage_of(mount),
            room: Some(self.room),
            holds_entries: self.holds_entries,
        };
        Ok(tree.mounts.iter().map(live).collect())
    }

    fn measure(&self, _: &MountTree, what: Measure<'_>) -> Result<Measured> {
        if let (Some(error), Some(_)) = (&self.index, what.since) {
            return Err(error.clone());
        }
        let measured = self.measured.clone();
        measured.map(|measured| Measured {
            archive_bytes: if what.compression.is_some() { measured.archive_bytes } else { self.uncompressed_bytes },
            ..measured
        })
    }

    fn decompression(&self, _: &Location) -> Option<Decompression> {
        self.decompress_time.map(|time| Decompression { time, is_parallel: true })
    }

    fn threads(&self) -> usize {
        4
    }

    fn condition(&self, _: &Sink) -> Condition {
        self.condition.clone()
    }

    fn occupied(&self, _: &Destination) -> Occupied {
        self.occupied
    }

    fn lineage(&self, path: &Path) -> Vec<FileId> {
        lineage(path)
    }

    fn state_dir(&self) -> &Path {
        self.state_dir
    }

    fn source(&self, path: &Path) -> Result<Source> {
        if self.files.iter().any(|file| path == Path::new(file)) {
            return Ok(Source::Archive(Location::new(path)));
        }
        Ok(Source::Directory(self.archives.iter().map(|name| Location::new(path.join(name))).collect()))
    }

    fn archive_bytes(&self, _: &Location) -> Option<u64> {
        Some(self.archive_bytes)
    }

    fn need(&self, _: &Input, _: &IdMap, mounts: &[(&RelPath, Option<u64>)], _: bool) -> Result<Vec<Need>> {
        self.need.clone().map(|need| vec![need; mounts.len()])
    }

    fn modified(&self, location: &Location) -> Option<SystemTime> {
        // The archives are from the oldest to the newest.
        let names = self.archives.iter().position(|name| location.path().ends_with(name));
        names.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64))
    }

    fn parts(&self, _: &Input, paths: &[RelPath]) -> Result<Parts> {
        self.parts.clone().map_or_else(|| Ok(Parts::new(paths.to_vec())), Err)
    }

    fn check_parts(&self, _: &MountTree, _: &Parts) -> Result<()> {
        Ok(())
    }

    fn check_new_directory(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn check_prefix(&self, input: &Input) -> Result<()> {
        match (&self.damaged, self.prefix) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(prefix)) if input.prefix.as_bytes() != prefix.as_bytes() => {
                Err(Error::refused(format!("'{}' is not the archive of '/{}'", input.location, input.prefix)))
            }
            (None, _) => Ok(()),
        }
    }

    fn origin(&self, _: &Location, path: &RelPath) -> Result<Option<Origin>> {
        let root = self.prefix.map(|prefix| RelPath::parse(prefix.as_bytes()).unwrap());
        Ok(root.map(|root| Origin { holds_path: root.strip_prefix(path).is_some(), root, trees: Vec::new() }))
    }

    fn first_clusters(&self, _: &Input) -> Result<Vec<Cluster>> {
        Ok(self.clusters.clone())
    }

    fn live_version(&self, _: &MountTree, at: &RelPath) -> Option<MajorVersion> {
        self.live_version.filter(|_| at.is_root())
    }

    fn mounted_below(&self, _: &Path) -> Result<Vec<PathBuf>> {
        Ok(self.mounted_below.clone())
    }
}

/// Returns an id for a path that does not exist.
fn id(path: &Path) -> FileId {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    FileId { device: 1, inode: hasher.finish() }
}

fn lineage(path: &Path) -> Vec<FileId> {
    path.ancestors().map(id).collect()
}

fn container(name: &str, destination: &str) -> Container {
    Container {
        id: format!("{name}-id"),
        name: name.to_owned(),
        mounts: vec![Mount {
            destination: destination.to_owned(),
            source: Some(format!("/volumes/{name}/_data").into()),
            subpath: RelPath::root(),
            kind: MountKind::Volume { name: name.to_owned(), driver: "local".to_owned() },
            read_only: false,
            non_recursive: false,
            place: None,
        }],
        ..Container::default()
    }
}

fn volume(name: &str) -> Volume {
    Volume {
        name: format!("stack_{name}"),
        driver: "local".to_owned(),
        mountpoint: format!("/volumes/{name}/_data").into(),
        options: BTreeMap::new(),
        project: Some("stack".to_owned()),
        compose_name: Some(name.to_owned()),
        ..Volume::default()
    }
}

/// Returns an inventory of a database and a media container, both stopped.
fn inventory() -> Inventory {
    Inventory {
        containers: vec![container("db", "/var/lib/postgresql/data"), container("media", "/srv/media")],
        ..Inventory::default()
    }
}

fn layout() -> Layout {
    let text = "[[archive]]\nname = \"db\"\ncontainer = \"db\"\npath = \"/var/lib/postgresql/data\"\n\
                [[archive]]\nname = \"media\"\ncontainer = \"media\"\npath = \"/srv/media\"\n";
    Layout::parse("stack.toml", text).unwrap()
}

fn backup_request() -> BackupRequest {
    BackupRequest {
        layout: layout(),
        selection: Selection::default(),
        sink: Sink::Directory(Directory::new("/backup")),
        format: None,
        level: None,
        checked: false,
        running: Running::Refuse,
        overwrite: false,
        allow_empty: false,
        allow_outside_links: false,
        exclude: Exclude::default(),
        xattrs: false,
        since: None,
        two_pass: false,
        wait: Duration::ZERO,
    }
}

fn restore_request() -> RestoreRequest {
    RestoreRequest {
        layout: layout(),
        selection: Selection::default(),
        sources: vec!["/backup".into()],
        mode: Mode::Replace,
        keep_previous: false,
        skip_read_only: false,
        running: Running::Refuse,
        allow_empty: false,
        allow_truncated_end: false,
        paths: Vec::new(),
        force_version: false,
        from: None,
        create_volumes: false,
        checks: Vec::new(),
        check_limit: Duration::ZERO,
    }
}

fn extraction_request() -> ExtractionRequest {
    ExtractionRequest {
        layout: layout(),
        only: Vec::new(),
        sources: vec!["/backup".into()],
        directory: "/new".into(),
        from: None,
        paths: Vec::new(),
        allow_empty: false,
        allow_truncated_end: false,
    }
}

fn comparison_request() -> ComparisonRequest {
    ComparisonRequest {
        layout: layout(),
        selection: Selection::default(),
        sources: vec!["/backup".into()],
        from: None,
        exclude: Exclude::default(),
    }
}

fn plan_backup(request: &BackupRequest, inventory: &Inventory, script: &Script) -> BackupPlan {
    backup::plan(request, "a test".to_owned(), inventory, script, Estimate::Always).unwrap()
}

fn plan_restore(request: &RestoreRequest, inventory: &Inventory, script: &Script) -> RestorePlan {
    restore::plan(request, "a test".to_owned(), inventory, script).unwrap().estimate(script)
}

/// Returns the messages of refusals, and checks that their kind is [`ErrorKind::Refused`].
fn messages(refusals: &[Error]) -> Vec<String> {
    refusals
        .iter()
        .map(|refusal| {
            assert_eq!(refusal.kind(), ErrorKind::Refused, "{refusal}");
            refusal.to_string()
        })
        .collect()
}

fn backup_refusals(change: impl Fn(&mut BackupRequest, &mut Inventory, &mut Script)) -> Vec<String> {
    let (mut request, mut inventory, mut script) = (backup_request(), inventory(), Script::default());
    change(&mut request, &mut inventory, &mut script);
    messages(&plan_backup(&request, &inventory, &script).refusals)
}

fn restore_refusals(change: impl Fn(&mut RestoreRequest, &mut Inventory, &mut Script)) -> Vec<String> {
    let (mut request, mut inventory, mut script) = (restore_request(), inventory(), Script::default());
    change(&mut request, &mut inventory, &mut script);
    messages(&plan_restore(&request, &inventory, &script).refusals)
}

#[test]
fn nothing_is_refused_without_a_reason() {
    assert_eq!(backup_refusals(|_, _, _| {}), Vec::<String>::new());
    assert_eq!(restore_refusals(|_, _, _| {}), Vec::<String>::new());
}

#[test]
fn a_backup_plan_has_a_job_for_each_archive() {
    let plan = plan_backup(&backup_request(), &inventory(), &Script::default());
    let jobs = plan.jobs();
    let shown: Vec<String> =
        jobs.iter().map(|job| format!("{} {} {}", job.archive, job.prefix, job.destination)).collect();
    assert_eq!(shown, ["db var/lib/postgresql/data /backup/db.tar.bz2", "media srv/media /backup/media.tar.bz2"]);
    assert_eq!(plan.targets().map(|target| &target.archive[..]).collect::<Vec<_>>(), ["db", "media"]);
    assert_eq!(plan.archive_bytes(), Some(2000));
    plan.check().unwrap();
}

#[test]
fn a_restore_plan_has_a_job_for_each_archive() {
    let plan = plan_restore(&restore_request(), &inventory(), &Script::default());
    let shown: Vec<String> =
        plan.inputs().map(|input| format!("{} {} {}", input.archive, input.location, input.prefix)).collect();
    assert_eq!(shown, ["db /backup/db.tar.bz2 var/lib/postgresql/data", "media /backup/media.tar.gz srv/media"]);
    plan.check().unwrap();
}

#[test]
fn an_untrusted_inventory_is_refused() {
    let message = "the engine is on another machine";
    assert_eq!(backup_refusals(|_, inventory, _| inventory.obstacles.push(message.to_owned())), [message]);
    assert_eq!(restore_refusals(|_, inventory, _| inventory.obstacles.push(message.to_owned())), [message]);
}

#[test]
fn a_missing_container_is_refused() {
    let message = "media: there is no container 'media', and no volume with the compose name 'media'";
    assert_eq!(backup_refusals(|_, inventory, _| drop(inventory.containers.pop())), [message]);
    assert_eq!(restore_refusals(|_, inventory, _| drop(inventory.containers.pop())), [message]);
}

#[test]
fn all_that_is_missing_is_one_refusal() {
    let text = "media: there is no container 'media', and no volume with the compose name 'media'";
    let expected = format!("{}; {text}", text.replace("media", "db"));
    assert_eq!(backup_refusals(|_, inventory, _| inventory.containers.clear()), [&expected[..]]);
    assert_eq!(restore_refusals(|_, inventory, _| inventory.containers.clear()), [&expected[..]]);
}

/// Returns the plan of a restore on a host without containers and volumes, which may create the latter.
fn plan_creation(change: impl Fn(&mut RestoreRequest, &mut Inventory, &mut Script)) -> RestorePlan {
    let text = "project = \"wp\"\n[[archive]]\nname = \"db\"\ncontainer = \"db\"\nvolume = \"db_data\"\npath = \"/var/lib/mysql\"\n\
                [[archive]]\nname = \"media\"\nvolume = \"html\"\npath = \"/var/www/html\"\n";
    let layout = Layout::parse("wp.toml", text).unwrap();
    let selection = Selection { project: layout.project.clone(), ..Selection::default() };
    let mut request = RestoreRequest { layout, selection, create_volumes: true, ..restore_request() };
    let (mut inventory, mut script) = (Inventory::default(), Script::default());
    change(&mut request, &mut inventory, &mut script);
    plan_restore(&request, &inventory, &script)
}

#[test]
fn what_is_allowed_is_allowed_for_a_volume_that_is_created() {
    for (empty, truncated_end) in [(false, true), (true, false)] {
        let plan = plan_creation(|request, _, _| {
            (request.allow_empty, request.allow_truncated_end) = (empty, truncated_end);
        });
        for input in plan.created.iter().map(|created| &created.input) {
            assert_eq!((input.allow_empty, input.allow_truncated_end), (empty, truncated_end));
        }
        assert_eq!(plan.created.len(), 2);
    }
}

/// The other archives of the layout, and their containers, need not exist.
#[test]
fn only_archives_that_are_there_are_compared() {
    let script = Script { archives: vec!["db.tar"], ..Script::default() };
    for (state, notes) in [
        (State::Stopped, &[][..]),
        (
            State::Running,
            &["containers that use these volumes are running: db; what they change meanwhile differs".to_owned()],
        ),
    ] {
        let db = Container { state, ..container("db", "/var/lib/postgresql/data") };
        let inventory = Inventory { containers: vec![db], ..Inventory::default() };
        let plan = comparison::plan(&comparison_request(), &inventory, &script).unwrap();
        assert_eq!((messages(&plan.refusals), plan.archives.len(), &plan.notes[..]), (vec![], 1, notes));
    }
}

#[test]
fn several_archives_are_extracted_to_directories_of_their_names() {
    let plan = |request: &ExtractionRequest, archives: Vec<&'static str>| {
        let plan = extraction::plan(request, &Script { archives, ..Script::default() })?;
        Ok::<_, Error>(plan.archives.iter().map(|planned| plan.at(planned)).collect::<Vec<_>>())
    };
    let of = |archives| plan(&extraction_request(), archives).unwrap();
    assert_eq!(of(vec!["db.tar", "media.tar"]), [Path::new("/new/db"), Path::new("/new/media")]);
    assert_eq!(of(vec!["db.tar"]), [Path::new("/new")]);
    for (allow_empty, allow_truncated_end) in [(true, false), (false, true)] {
        let request = ExtractionRequest { allow_empty, allow_truncated_end, ..extraction_request() };
        let plan = extraction::plan(&request, &Script::default()).unwrap();
        let allowed =
            plan.archives.iter().map(|planned| (planned.input.allow_empty, planned.input.allow_truncated_end));
        assert_eq!(allowed.collect::<Vec<_>>(), [(allow_empty, allow_truncated_end); 2]);
    }
}

#[test]
fn an_archive_whose_name_no_directory_can_have_is_extracted_alone() {
    let plan = |files: &[&'static str]| {
        let sources = files.iter().map(PathBuf::from).collect();
        let script = Script { files: files.to_vec(), ..Script::default() };
        extraction::plan(&ExtractionRequest { sources, ..extraction_request() }, &script)
    };
    let error = plan(&["/tmp/..tar", "/tmp/x.tar"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.to_string(), "'/tmp/..tar': no directory can have the name '.'");
    assert_eq!(plan(&["/tmp/..tar"]).unwrap().archives.len(), 1);
}

/// Otherwise the run would end as one that was refused, with another exit status.
#[test]
fn an_interruption_while_archives_are_read_is_not_a_refusal() {
    for (damaged, is_refusal) in [(Error::interrupted(), false), (Error::refused("no"), true)] {
        let script = Script { damaged: Some(damaged), ..Script::default() };
        let text = "project = \"wp\"\n[[archive]]\nname = \"db\"\nvolume = \"html\"\npath = \"/var/www/html\"\n";
        let layout = Layout::parse("wp.toml", text).unwrap();
        let selection = Selection { project: layout.project.clone(), ..Selection::default() };
        let create = RestoreRequest { layout, selection, create_volumes: true, ..restore_request() };
        let restore = |request: &RestoreRequest, inventory: &Inventory| {
            restore::plan(request, "a test".to_owned(), inventory, &script).map(|plan| plan.refusals.len())
        };
        let plans = [
            comparison::plan(&comparison_request(), &inventory(), &script).map(|plan| plan.refusals.len()),
            extraction::plan(&extraction_request(), &script).map(|plan| plan.refusals.len()),
            restore(&restore_request(), &inventory()),
            restore(&create, &Inventory::default()),
        ];
        for plan in plans {
            match plan {
                Ok(refusals) => assert!(is_refusal && refusals > 0),
                Err(error) => assert!(!is_refusal && error.kind() == ErrorKind::Interrupted, "{error}"),
            }
        }
    }
}

#[test]
fn an_interruption_while_parts_or_the_room_are_looked_for_is_not_a_refusal() {
    let part = RestoreRequest {
        paths: vec![path("data")],
        selection: Selection { only: vec!["media".to_owned()], ..Selection::default() },
        ..restore_request()
    };
    let room = Room { bytes: 1, ..Script::default().room };
    for (error, is_refusal) in [(Error::interrupted(), false), (Error::refused("no"), true)] {
        let parts = Script { parts: Some(error.clone()), ..Script::default() };
        let need = Script { need: Err(error), room, ..Script::default() };
        for (request, script) in [(&part, &parts), (&restore_request(), &need)] {
            match restore::plan(request, "a test".to_owned(), &inventory(), script) {
                Ok(plan) => assert!(is_refusal && messages(&plan.refusals).concat().contains("no")),
                Err(error) => assert!(!is_refusal && error.kind() == ErrorKind::Interrupted, "{error}"),
            }
        }
    }
}

#[test]
fn volumes_that_do_not_exist_are_created_as_compose_would() {
    let plan = plan_creation(|_, _, _| {});
    assert!(plan.refusals.is_empty() && plan.archives.is_empty(), "{:?}", plan.refusals);
    let shown: Vec<String> = plan
        .created
        .iter()
        .map(|one| format!("{} {} {:?}", one.input.archive, one.volume.name, one.volume.labels))
        .collect();
    let labels = |volume: &str| {
        format!(
            "{{\"com.docker.compose.project\": \"wp\", \"com.docker.compose.version\": \"voltar {}\", \
             \"com.docker.compose.volume\": \"{volume}\"}}",
            env!("CARGO_PKG_VERSION")
        )
    };
    assert_eq!(shown, [format!("db wp_db_data {}", labels("db_data")), format!("media wp_html {}", labels("html"))]);
    let text = restore_text(&plan);
    assert!(
        text.contains(
            "\ndb <- /backup/db.tar.bz2\n  path       /var/lib/mysql\n  volume     wp_db_data, which is created first, with \
             compose's labels\n"
        ),
        "{text}"
    );
    let document = serde_json::to_value(RestoreDocument::new(&plan)).unwrap();
    assert_eq!(document["created"][1]["volume"], "wp_html");
    assert_eq!(document["created"][1]["labels"]["com.docker.compose.volume"], "html");
}

#[test]
fn a_created_volume_may_have_another_name_with_or_without_a_project() {
    let created = |project: Option<&str>| {
        let plan = plan_creation(|request, _, _| {
            request.selection.project = project.map(str::to_owned);
            request.selection.only = vec!["db".to_owned()];
            request.selection.volumes = [("db".to_owned(), "nas_db".to_owned())].into();
        });
        assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
        (plan.created[0].volume.name.clone(), plan.created[0].volume.labels.len())
    };
    assert_eq!(created(Some("wp")), ("nas_db".to_owned(), 3));
    assert_eq!(created(None), ("nas_db".to_owned(), 0));
}

#[test]
fn what_compose_would_not_take_for_its_own_is_not_created() {
    let refused = |change: &dyn Fn(&mut RestoreRequest, &mut Inventory, &mut Script)| {
        let plan = plan_creation(change);
        assert!(plan.refusals.iter().all(|refusal| refusal.advice().is_some()), "{:?}", plan.refusals);
        messages(&plan.refusals)
    };
    assert_eq!(
        refused(&|request, _, _| request.selection.project = None)[0],
        "db: the compose project of the volume to be created is not known"
    );
    assert_eq!(
        refused(&|request, _, _| request.layout.archives[1].volume = None),
        ["media: the layout does not say which volume is to be created"]
    );
    let plain = Volume { name: "wp_html".to_owned(), project: None, compose_name: None, ..volume("html") };
    assert_eq!(
        refused(&|_, inventory, _| inventory.volumes.push(plain.clone())),
        ["media: the volume 'wp_html' exists, but its labels are not those of compose"]
    );
    assert_eq!(
        refused(&|_, inventory, _| inventory.labels_unknown = true)[1],
        "media: cannot create the volume 'wp_html': with --data-root no engine is used"
    );
    // Nothing is created for an archive that cannot be restored.
    assert_eq!(
        refused(&|_, _, script| script.prefix = Some("var/www/html")),
        ["'/backup/db.tar.bz2' is not the archive of '/var/lib/mysql'"]
    );
    assert_eq!(
        refused(&|_, _, script| script.damaged = Some(Error::refused("damaged").hint("x"))),
        ["damaged", "damaged"]
    );
}

#[test]
fn where_something_is_missing_a_restore_names_both_ways_out() {
    let plan = plan_creation(|request, _, _| request.create_volumes = false);
    assert_eq!(
        messages(&plan.refusals),
        [
            "db: there is no container 'db' in project 'wp', and no volume with the compose name 'db_data'; media: there is no \
          volume 'html' in project 'wp', by its compose name or its full name"
        ]
    );
    let hint = plan.refusals[0].advice().unwrap();
    assert!(hint.contains("`docker compose up --no-start`") && hint.contains("--create-volumes"), "{hint}");
}

#[test]
fn mounts_that_do_not_exist_are_refused_without_further_checks() {
    let unreal = |script: &mut Script| script.unreal = vec![Error::refused("it is not mounted")];
    let expected = ["db: it is not mounted", "media: it is not mounted"];
    assert_eq!(
        backup_refusals(|_, _, script| {
            unreal(script);
            script.measured = Err(Error::refused("walked although it is not mounted"));
        }),
        expected
    );
    assert_eq!(
        restore_refusals(|_, _, script| {
            unreal(script);
            script.damaged = Some(Error::refused("read although nothing can be restored"));
        }),
        expected
    );
}

#[test]
fn mounts_are_checked_again_after_the_plan() {
    let plan = plan_backup(&backup_request(), &inventory(), &Script::default());
    let check = |unreal: Vec<Error>| {
        check_real(plan.targets(), &inventory(), &Script { unreal, ..Script::default() }).map_err(|it| it.to_string())
    };
    assert_eq!(check(vec![Error::refused("it is not mounted")]), Err("db: it is not mounted".to_owned()));
    assert_eq!(check(vec![]), Ok(()));
}

#[test]
fn running_containers_are_refused_stopped_or_allowed() {
    let run = |inventory: &mut Inventory| inventory.containers[0].state = State::Running;
    let message = "containers that use these volumes are running: db";
    assert_eq!(backup_refusals(|_, inventory, _| run(inventory)), [message]);
    assert_eq!(restore_refusals(|_, inventory, _| run(inventory)), [message]);
    assert_eq!(
        restore_refusals(|request, inventory, _| {
            request.running = Running::Allow;
            run(inventory);
        }),
        [message],
        "a restore under a running container is never allowed"
    );
    let mut running = inventory();
    run(&mut running);
    for (policy, stopped) in [(Running::Stop, vec!["db"]), (Running::Allow, vec![])] {
        let request = BackupRequest { running: policy, ..backup_request() };
        let plan = plan_backup(&request, &running, &Script::default());
        assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
        let names: Vec<&str> = plan.to_stop.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, stopped, "{policy:?}");
    }
}

#[test]
fn paused_containers_are_refused_unless_running_ones_are_allowed() {
    let pause = |inventory: &mut Inventory| inventory.containers[1].state = State::Paused;
    let message = "containers that use these volumes are paused: media";
    for running in [Running::Refuse, Running::Stop] {
        let refusals = backup_refusals(|request, inventory, _| {
            request.running = running;
            pause(inventory);
        });
        assert_eq!(refusals, [message]);
    }
    let allowed = backup_refusals(|request, inventory, _| {
        request.running = Running::Allow;
        pause(inventory);
    });
    assert_eq!(allowed, Vec::<String>::new());
    assert_eq!(restore_refusals(|_, inventory, _| pause(inventory)), [message]);
}

#[test]
fn containers_that_are_deleted_when_they_stop_are_not_stopped() {
    let refusals = restore_refusals(|request, inventory, _| {
        request.running = Running::Stop;
        inventory.containers[0].state = State::Running;
        inventory.containers[0].auto_remove = true;
    });
    assert_eq!(refusals, ["containers that use these volumes are deleted when they stop (--rm): db"]);
}

#[test]
fn containers_that_a_start_would_not_bring_back_are_not_stopped() {
    let one_off = |inventory: &mut Inventory| {
        inventory.containers[0].state = State::Running;
        inventory.containers[0].one_off = true;
    };
    let task = |inventory: &mut Inventory| {
        inventory.containers[1].state = State::Running;
        inventory.containers[1].swarm_service = Some("stack_media".to_owned());
    };
    let job = "containers that use these volumes were created for one command (`docker compose run`): db";
    let swarm = "containers that use these volumes are swarm tasks, and swarm replaces a task that stops: media";
    let both = |inventory: &mut Inventory| {
        one_off(inventory);
        task(inventory);
    };
    let stop = Running::Stop;
    assert_eq!(
        backup_refusals(|request, inventory, _| {
            request.running = stop;
            both(inventory);
        }),
        [job, swarm]
    );
    assert_eq!(
        restore_refusals(|request, inventory, _| {
            request.running = stop;
            both(inventory);
        }),
        [job, swarm]
    );
    // A running job can be waited for or stopped; a task of swarm has a command of its own in any case.
    let refused = backup_refusals(|_, inventory, _| both(inventory));
    assert_eq!(refused, ["containers that use these volumes are running: db", swarm]);
    let allowed = backup_refusals(|request, inventory, _| {
        request.running = Running::Allow;
        both(inventory);
    });
    assert_eq!(allowed, Vec::<String>::new());
    let mut inventory = inventory();
    task(&mut inventory);
    let plan = plan_backup(&backup_request(), &inventory, &Script::default());
    assert!(plan.refusals[0].advice().unwrap().contains("`docker service scale stack_media=0`"));
}

#[test]
fn a_volume_with_mount_options_keeps_its_filesystem_through_a_stop() {
    let mut inventory = inventory();
    let filesystem = Filesystem {
        kind: "nfs".to_owned(),
        device: ":/db".to_owned(),
        options: "addr=nas,password=s3cret".to_owned(),
    };
    for container in &mut inventory.containers {
        container.state = State::Running;
    }
    inventory.volumes = vec![Volume { name: "db".to_owned(), filesystem: Some(filesystem.clone()), ..volume("db") }];
    let request = BackupRequest { running: Running::Stop, ..backup_request() };
    let plan = plan_backup(&request, &inventory, &Script::default());
    assert_eq!(messages(&plan.refusals), Vec::<String>::new());
    assert_eq!(plan.archives[0].target.tree.mounts[0].filesystem, Some(filesystem));
    assert_eq!(plan.archives[1].target.tree.mounts[0].filesystem, None);
    let text = backup_text(&plan);
    assert!(text.contains("(type=nfs, device=:/db, o=addr=nas,password=***)"), "{text}");
    assert!(!text.contains("s3cret"));
}

#[test]
fn containers_that_used_a_volume_meanwhile_are_found() {
    const YEAR_1: &str = "0001-01-01T00:00:00Z";
    let started = |name: &str, destination: &str, at: &str, state: State| Container {
        id: format!("id of {name}"),
        started: at.to_owned(),
        state,
        ..container(name, destination)
    };
    let before = Inventory {
        containers: vec![
            started("db", "/var/lib/postgresql/data", "2026-01-01T00:00:00Z", State::Stopped),
            started("media", "/srv/media", YEAR_1, State::Stopped),
        ],
        ..Inventory::default()
    };
    let plan = plan_backup(&backup_request(), &before, &Script::default());
    let used = |changed: Container| {
        let mut now = before.clone();
        now.containers.retain(|container| container.id != changed.id);
        now.containers.push(changed);
        let targets = plan.archives.iter().map(|planned| &planned.target);
        used_since(&plan.users, targets, &now).len()
    };
    let [db, media] = &before.containers[..] else { panic!() };
    assert_eq!(used(db.clone()), 0, "nothing has changed");
    let again = "2026-01-02T00:00:00Z".to_owned();
    assert_eq!(used(Container { state: State::Running, started: again.clone(), ..db.clone() }), 1);
    assert_eq!(used(Container { started: again.clone(), ..db.clone() }), 1, "it has ended");
    assert_eq!(used(Container { started: again.clone(), ..media.clone() }), 1, "for the first time");
    let new = Container { name: "new".to_owned(), id: "new".to_owned(), ..media.clone() };
    assert_eq!(used(new.clone()), 0, "it was created, but never started");
    assert_eq!(used(Container { state: State::Running, ..new.clone() }), 1);
    assert_eq!(used(Container { started: again.clone(), ..new.clone() }), 1);
    let recreated = Container { id: "id of another".to_owned(), ..db.clone() };
    let with_both = Inventory { containers: vec![recreated.clone()], ..Inventory::default() };
    let targets = plan.archives.iter().map(|planned| &planned.target);
    assert_eq!(used_since(&plan.users, targets, &with_both), [&recreated], "it has the name of one that is gone");
    let elsewhere = Container { started: again, mounts: Vec::new(), ..new };
    assert_eq!(used(elsewhere), 0, "it has no mount of these volumes");
}

#[test]
fn trees_without_the_expected_content_are_refused() {
    let measured = |members, database| Ok(Measured { members, database, ..Measured::default() });
    assert_eq!(
        backup_refusals(|_, _, script| script.measured = measured(9, false)),
        ["db: '/var/lib/postgresql/data' holds no PG_VERSION, so it is no PostgreSQL database"]
    );
    assert_eq!(
        backup_refusals(|_, _, script| script.measured = measured(1, false)),
        ["db: '/var/lib/postgresql/data' holds nothing", "media: '/srv/media' holds nothing"]
    );
    let meanwhile = backup_refusals(|_, _, script| {
        (script.measured, script.replaced) = (measured(1, false), true);
    });
    assert_eq!(
        meanwhile,
        ["db: '/var/lib/postgresql/data' was replaced meanwhile", "media: '/srv/media' was replaced meanwhile"]
    );
    let allowed = backup_refusals(|request, _, script| {
        request.allow_empty = true;
        script.measured = measured(1, false);
    });
    assert_eq!(allowed, Vec::<String>::new());
}

#[test]
fn a_tree_that_cannot_be_walked_is_refused_and_an_interruption_is_not_a_refusal() {
    let refusals = backup_refusals(|_, _, script| script.measured = Err(Error::refused("cannot open the root")));
    assert_eq!(refusals, ["db: cannot open the root", "media: cannot open the root"]);
    let script = Script { measured: Err(Error::interrupted()), ..Script::default() };
    let error = backup::plan(&backup_request(), String::new(), &inventory(), &script, Estimate::Always).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    let script = Script { damaged: Some(Error::interrupted()), ..Script::default() };
    let error = restore::plan(&restore_request(), String::new(), &inventory(), &script).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

#[test]
fn an_unfinished_restore_forbids_a_backup_and_is_undone_by_a_restore() {
    let interrupted = vec![Unfinished::Interrupted("/volumes/db/_data".into())];
    let message = "db: a restore into '/volumes/db/_data' was interrupted before it was complete, and its content is not the old one";
    assert_eq!(backup_refusals(|_, _, script| script.unfinished = interrupted.clone())[0], message);
    let script = Script { unfinished: interrupted, ..Script::default() };
    let plan = plan_restore(&restore_request(), &inventory(), &script);
    assert!(plan.refusals.is_empty());
    assert_eq!(plan.notes[0], format!("{message}; it is undone first"));

    let in_progress = vec![Unfinished::InProgress("/volumes/db/_data".into())];
    let message = "db: another restore into '/volumes/db/_data' is in progress";
    assert_eq!(backup_refusals(|_, _, script| script.unfinished = in_progress.clone())[0], message);
    assert_eq!(restore_refusals(|_, _, script| script.unfinished = in_progress.clone())[0], message);
}

#[test]
fn what_a_restore_needs_is_not_inside_what_it_replaces() {
    let inside = Path::new("/volumes/media/_data/x");
    let refusals = restore_refusals(|request, _, _| request.sources = vec![inside.to_owned()]);
    assert_eq!(
        refusals,
        ["media: the archive '/volumes/media/_data/x/media.tar.gz' lies inside what is to be restored \
          ('/volumes/media/_data')"]
    );
    let refusals = restore_refusals(|_, _, script| script.state_dir = inside);
    assert_eq!(
        refusals,
        ["media: the directory of voltar's records '/volumes/media/_data/x' lies inside what is to be restored \
          ('/volumes/media/_data')"]
    );
}

#[test]
fn an_existing_file_is_refused_unless_it_may_be_overwritten() {
    let exists = ["db: '/backup/db.tar.bz2' exists already", "media: '/backup/media.tar.bz2' exists already"];
    for (occupied, overwrite, expected) in [
        (Occupied::File, false, &exists[..]),
        (Occupied::File, true, &[]),
        (Occupied::Other, false, &exists),
        (Occupied::Other, true, &exists),
    ] {
        let refusals = backup_refusals(|request, _, script| {
            request.overwrite = overwrite;
            script.occupied = occupied;
        });
        assert_eq!(refusals, expected, "{occupied:?} {overwrite}");
    }
}

#[test]
fn a_store_that_cannot_be_written_is_refused() {
    let refusals = backup_refusals(|_, _, script| {
        script.condition.obstacle = Some("cannot write to '/backup': Permission denied".to_owned());
    });
    assert_eq!(refusals, ["cannot write to '/backup': Permission denied"]);
}

#[test]
fn a_store_inside_a_volume_is_refused() {
    let refusals = backup_refusals(|_, _, script| script.condition.lineage = lineage(Path::new("/volumes/db/_data/x")));
    assert_eq!(refusals, ["db: '/backup' lies inside what is to be archived ('/volumes/db/_data')"]);
    let beside = backup_refusals(|_, _, script| script.condition.lineage = lineage(Path::new("/volumes/db/_data2")));
    assert_eq!(beside, Vec::<String>::new());
}

#[test]
fn too_little_space_is_refused_on_both_sides_of_the_margin() {
    let free = |free: u64| {
        move |_: &mut BackupRequest, _: &mut Inventory, script: &mut Script| {
            script.condition.free_bytes = Some(free);
        }
    };
    // 2,000 bytes are needed, and up to 2 % less is accepted.
    assert_eq!(backup_refusals(free(1961)), Vec::<String>::new());
    assert_eq!(
        backup_refusals(free(1960)),
        ["too little space at '/backup': the archives will take about 1.95 KiB, and 1.91 KiB are free"]
    );
}

#[test]
fn lengths_are_estimated_only_where_it_matters() {
    let plan = |free_bytes: Option<u64>| {
        let condition = Condition { free_bytes, ..Script::default().condition };
        let script = Script { condition, ..Script::default() };
        let plan =
            backup::plan(&backup_request(), String::new(), &inventory(), &script, Estimate::WhereNeeded).unwrap();
        (plan.archive_bytes().unwrap(), plan.refusals.len())
    };
    // Uncompressed, they take 6,000 bytes, and compressed 2,000.
    assert_eq!([plan(None), plan(Some(10_000)), plan(Some(5900))], [(6000, 0); 3]);
    assert_eq!([plan(Some(5800)), plan(Some(2000))], [(2000, 0); 2]);
    assert_eq!(plan(Some(1900)), (2000, 1));
}

#[test]
fn a_second_tree_that_does_not_fit_is_refused_with_bytes_and_inodes() {
    let room = |bytes, inodes| Room { bytes, inodes: Some(inodes), block: 1, is_exact: true };
    let with = |room: Room| restore_refusals(move |_, _, script| script.room = room);
    // Both archives are on one filesystem.
    assert_eq!(with(room(2000, 20)), Vec::<String>::new());
    let too_little = |free: &str| {
        format!(
            "db, media: no room for a second tree beside '/volumes/db/_data': it takes 1.95 KiB and 20 inodes, and {free}"
        )
    };
    assert_eq!(with(room(1999, 20)), [too_little("1.95 KiB and 20 inodes are free")]);
    assert_eq!(with(room(5000, 19)), [too_little("4.88 KiB and 19 inodes are free")]);
    assert_eq!(with(Room { inodes: None, ..room(2000, 0) }), Vec::<String>::new());
    // Two mounts of one archive, and one of the other: each is counted once.
    let nested = |room: Room| {
        restore_refusals(move |_, inventory, script| {
            let mount = container("nested", "/srv/media/nested").mounts.remove(0);
            inventory.containers[1].mounts.push(mount);
            script.room = room;
        })
    };
    assert_eq!(nested(room(3000, 30)), Vec::<String>::new());
    assert_eq!(nested(room(2999, 30)).len(), 1);
    // Each archive on a filesystem of its own, of which one is too small.
    let apart = restore_refusals(|_, inventory, script| {
        let mount = container("nested", "/srv/media/nested").mounts.remove(0);
        inventory.containers[1].mounts.push(mount);
        (script.room, script.replaced) = (room(1999, 20), true);
    });
    let media = "media: no room for a second tree beside '/volumes/media/_data': it takes 1.95 KiB and 20 inodes, and 1.95 KiB \
                 and 20 inodes are free";
    assert_eq!(apart, [media]);
    // Content may take less where it is compressed, but not inodes.
    assert_eq!(with(Room { is_exact: false, ..room(1999, 20) }), Vec::<String>::new());
    assert_eq!(with(Room { is_exact: false, ..room(1999, 19) }), [too_little("1.95 KiB and 19 inodes are free")]);
    let script = Script { room: room(0, 20), ..Script::default() };
    let error = plan_restore(&restore_request(), &inventory(), &script).check().unwrap_err();
    let hint = error.advice().unwrap();
    assert!(hint.contains("--in-place") && hint.contains("a mix of old and new files"), "{hint}");
    for mode in [Mode::Merge, Mode::InPlace] {
        let refusals = restore_refusals(|request, _, script| {
            request.mode = mode;
            script.room = room(0, 0);
        });
        assert_eq!(refusals, Vec::<String>::new(), "{mode:?} needs no second tree");
    }
}

#[test]
fn an_archive_is_read_for_the_room_only_where_that_could_matter() {
    const LARGE: u64 = 5 << 20;
    let damaged = || Err(Error::refused("read"));
    let with = |bytes: u64, free: u64, inodes: u64| {
        restore_refusals(move |_, _, script| {
            script.archive_bytes = bytes;
            script.need = damaged();
            script.room = Room { bytes: free, inodes: Some(inodes), block: 1, is_exact: true };
        })
    };
    let refusals = |bytes: u64, free: u64| with(bytes, free, 1 << 40);
    assert_eq!(refusals(1000, 1 << 40), ["read", "read"], "small ones always");
    assert_eq!(refusals(LARGE, 1 << 40), Vec::<String>::new());
    assert_eq!(refusals(LARGE, 2 * 16 * LARGE), Vec::<String>::new(), "both have at most 16 times their length");
    assert_eq!(refusals(LARGE, 2 * 16 * LARGE - 1), ["read", "read"]);
    let inodes = 2 * 16 * LARGE / 4096;
    assert_eq!([inodes, inodes + 1].map(|free| with(LARGE, 1 << 40, free).len()), [0, 0], "4096 bytes for each inode");
    assert_eq!(with(LARGE, 1 << 40, inodes - 1), ["read", "read"]);
    let message = "db: no room for a second tree beside '/volumes/db/_data': the archive alone takes 5.00 MiB, and 4.00 MiB \
                   are free";
    assert_eq!(refusals(LARGE, 4 << 20)[0], message, "without reading it");
    assert_eq!(refusals(LARGE, LARGE), ["read", "read"], "it fits, and its content may");
}

#[test]
fn read_only_mounts_are_refused_for_a_restore_only() {
    let protect = |inventory: &mut Inventory| inventory.containers[1].mounts[0].read_only = true;
    assert_eq!(backup_refusals(|_, inventory, _| protect(inventory)), Vec::<String>::new());
    assert_eq!(restore_refusals(|_, inventory, _| protect(inventory)), ["media: '/srv/media' is mounted read-only"]);
}

#[test]
fn filesystems_inside_a_tree_are_refused_unless_it_is_merged() {
    let mount = |script: &mut Script| script.mounted_below = vec!["/volumes/x".into()];
    let refusals = restore_refusals(|_, _, script| mount(script));
    assert_eq!(refusals[0], "db: a filesystem of this host is mounted at '/volumes/x', inside '/volumes/db/_data'");
    let merged = restore_refusals(|request, _, script| {
        request.mode = Mode::Merge;
        mount(script);
    });
    assert_eq!(merged, Vec::<String>::new());
}

#[test]
fn an_archive_of_another_path_is_refused() {
    let refusals = restore_refusals(|_, _, script| script.prefix = Some("srv/media"));
    assert_eq!(refusals, ["'/backup/db.tar.bz2' is not the archive of '/var/lib/postgresql/data'"]);
}

#[test]
fn the_refusal_of_an_archive_of_another_path_proposes_an_option() {
    let hints = |prefix: &'static str| {
        let script = Script { prefix: Some(prefix), ..Script::default() };
        let plan = plan_restore(&restore_request(), &inventory(), &script);
        plan.refusals.iter().map(|refusal| refusal.advice().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(
        hints("data")[0].starts_with("`--from data` restores what lies below 'data' to '/var/lib/postgresql/data'")
    );
    assert!(hints("")[1].starts_with("`--from .` restores all that it holds to '/srv/media'"), "{:?}", hints(""));
    // A shortened path would be no part of a command.
    let long = hints(format!("srv/media/{}", "d/".repeat(1000)).leak());
    assert!(long[0].starts_with("`--from PREFIX` restores"), "{long:?}");
    assert!(long[1].starts_with("`--from srv/media` restores"), "{long:?}");
    assert_eq!(hints("srv/media").len(), 1);
    assert_eq!(
        hints("srv/media")[0],
        "that is the path of the archive media: `--only media /backup/db.tar.bz2` restores it as that one"
    );
    // The path at which another generation of the stack has the media.
    let mut request = restore_request();
    let mut other = request.layout.archives[1].alternatives[0].clone();
    other.path = path("srv/old");
    request.layout.archives[1].alternatives.push(other);
    let script = Script { prefix: Some("srv/old"), ..Script::default() };
    let plan = plan_restore(&request, &inventory(), &script);
    let hint = plan.refusals[0].advice().unwrap();
    assert!(hint.starts_with("that is the path of the archive media"), "{hint}");
}

fn path(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

#[test]
fn an_archive_with_another_root_is_restored_from_there() {
    let script = Script { prefix: Some("data"), ..Script::default() };
    let request = RestoreRequest { from: Some(path("data")), ..restore_request() };
    let plan = plan_restore(&request, &inventory(), &script);
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    let shown = |input: &Input| (input.prefix.to_string(), input.path.to_string(), input.selected);
    assert_eq!(shown(&plan.archives[1].input), ("data".to_owned(), "srv/media".to_owned(), true));
    let text = restore_text(&plan);
    assert!(text.contains("  from       'data' in the archive; members outside of it are skipped\n"), "{text}");
    let document = serde_json::to_value(RestoreDocument::new(&plan)).unwrap();
    assert_eq!(
        (&document["archives"][1]["prefix"], &document["archives"][1]["skips_others"]),
        (&"/data".into(), &true.into())
    );

    let plan = plan_restore(&RestoreRequest { from: Some(path("dta")), ..restore_request() }, &inventory(), &script);
    assert_eq!(plan.refusals.len(), 2);
    assert!(plan.refusals[0].advice().unwrap().starts_with("`--from data` restores what lies below 'data'"));
    // A damaged archive is no matter of its prefix.
    let damaged = Some(Error::new(ErrorKind::Damaged, "it was cut off"));
    let script = Script { damaged, ..script };
    let plan = plan_restore(&RestoreRequest { from: Some(path("dta")), ..restore_request() }, &inventory(), &script);
    assert_eq!(plan.refusals[0].advice(), None, "{}", plan.refusals[0]);
}

#[test]
fn an_archive_of_the_layouts_path_needs_no_prefix() {
    let request = RestoreRequest { from: Some(path(".")), ..restore_request() };
    let script = Script { prefix: Some("srv/media"), ..Script::default() };
    let mut request_media = request;
    request_media.selection.only = vec!["media".to_owned()];
    let plan = plan_restore(&request_media, &inventory(), &script);
    assert!(plan.refusals.is_empty());
    assert!(!plan.archives[0].input.selected && plan.archives[0].input.prefix.as_bytes() == b"srv/media");
    assert_eq!(plan.notes, ["media: '/backup/media.tar.gz' is the archive of '/srv/media', and needs no --from"]);
    // A directory below that path is another tree.
    request_media.from = Some(path("srv/media/raw"));
    let script = Script { prefix: Some("srv/media/raw"), ..Script::default() };
    let plan = plan_restore(&request_media, &inventory(), &script);
    assert!(plan.archives[0].input.selected && plan.notes.is_empty());
}

#[test]
fn archives_that_are_not_in_the_layout_are_named() {
    let archives = vec!["db.tar", "data.tar.xz", "db-2024.tar.bz2", "media.tar"];
    let script = Script { archives, ..Script::default() };
    let plan = plan_restore(&restore_request(), &inventory(), &script);
    let foreign: Vec<String> = plan.foreign.iter().map(Location::to_string).collect();
    assert_eq!(foreign, ["/backup/data.tar.xz", "/backup/db-2024.tar.bz2"]);
    assert!(restore_text(&plan).contains("\nnot restored: /backup/data.tar.xz, which is not in the layout\n"));
    let document = serde_json::to_value(RestoreDocument::new(&plan)).unwrap();
    assert_eq!(document["not_restored"][1], "/backup/db-2024.tar.bz2");

    let mut request = restore_request();
    request.selection.only = vec!["db".to_owned()];
    let plan = plan_restore(&request, &inventory(), &script);
    assert!(plan.foreign.is_empty());
    assert_eq!(
        plan.notes,
        ["not in the layout 'stack.toml', and skipped: '/backup/data.tar.xz', '/backup/db-2024.tar.bz2'"]
    );
}

#[test]
fn a_source_without_an_archive_of_the_layout_says_what_it_holds() {
    let hint = |only: &[&str]| {
        let error = restore_error(|request, script| {
            request.selection.only = only.iter().map(|&name| name.to_owned()).collect();
            script.archives = vec!["a.tar", "b.tar", "c.tar", "d.tar", "e.tar", "f.tar.xz"];
        });
        error.advice().unwrap().to_owned()
    };
    assert!(
        hint(&[]).starts_with(
            "there is '/backup/a.tar', '/backup/b.tar', '/backup/c.tar', '/backup/d.tar', '/backup/e.tar' and 1 more; \
             `--only NAME /backup/a.tar` says which"
        ),
        "{}",
        hint(&[])
    );
    assert!(hint(&["db"]).contains("`--only db /backup/a.tar`"));
}

#[test]
fn without_its_container_the_path_is_that_of_the_archive() {
    let text = "[[archive]]\nname = \"db\"\ncontainer = \"db\"\npath = \"/var/lib/kvrocks/data\"\n";
    let mut layout = Layout::parse("stack.toml", text).unwrap();
    let mut other = layout.archives[0].alternatives[0].clone();
    other.path = RelPath::parse(b"data").unwrap();
    layout.archives[0].alternatives.push(other);
    let inventory = Inventory { volumes: vec![volume("db")], ..Inventory::default() };
    let script = Script { prefix: Some("data"), ..Script::default() };
    let plan = plan_restore(&RestoreRequest { layout, ..restore_request() }, &inventory, &script);
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    assert_eq!(plan.archives[0].input.prefix.as_bytes(), b"data");
    assert!(restore_text(&plan).contains("  archive of /data\n"), "{}", restore_text(&plan));
}

fn restore_error(change: impl Fn(&mut RestoreRequest, &mut Script)) -> Error {
    let (mut request, mut script) = (restore_request(), Script::default());
    change(&mut request, &mut script);
    let error = restore::plan(&request, String::new(), &inventory(), &script).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(error.advice().is_some(), "{error}");
    error
}

#[test]
fn sources_without_exactly_one_archive_for_each_target_are_usage_errors() {
    let message = |change: &dyn Fn(&mut RestoreRequest, &mut Script)| restore_error(change).to_string();
    assert_eq!(
        message(&|_, script| script.archives = vec!["notes.txt", "other.tar"]),
        "no archive of the layout 'stack.toml' in '/backup'"
    );
    assert_eq!(
        message(&|request, script| {
            request.sources = vec!["/backup/db.tar".into(), "/backup/db.tar.gz".into()];
            script.files = vec!["/backup/db.tar", "/backup/db.tar.gz"];
        }),
        "two archives for db: '/backup/db.tar' and '/backup/db.tar.gz'"
    );
    assert_eq!(
        message(&|_, script| script.archives = vec!["db.tar", "db.tar"]),
        "two archives for db: '/backup/db.tar' and '/backup/db.tar'",
        "neither is newer"
    );
    assert_eq!(
        message(&|request, script| {
            request.selection.only = vec!["media".to_owned()];
            request.sources = vec!["/backup/db.tar".into(), "/backup/media.tar".into()];
            script.files = vec!["/backup/db.tar", "/backup/media.tar"];
        }),
        "'/backup/db.tar' is the archive db, which --only media leaves out"
    );
    assert_eq!(
        message(&|request, script| {
            request.selection.only = vec!["media".to_owned()];
            script.archives = vec!["db.tar"];
        }),
        "no archive for media in '/backup'"
    );
    assert_eq!(
        message(&|request, script| {
            request.sources = vec!["/tmp/x.tar".into()];
            script.files = vec!["/tmp/x.tar"];
        }),
        "'/tmp/x.tar': the layout 'stack.toml' has no archive 'x'"
    );
    assert_eq!(
        message(&|request, script| {
            request.selection.only = vec!["media".to_owned()];
            request.sources = vec!["/tmp/x.tar".into(), "/tmp/y.tar".into()];
            script.files = vec!["/tmp/x.tar", "/tmp/y.tar"];
        }),
        "'/tmp/x.tar': the layout 'stack.toml' has no archive 'x'",
        "only a single file may have any name"
    );
}

#[test]
fn of_several_formats_in_a_directory_the_newest_is_restored() {
    let script = Script { archives: vec!["db.tar", "db.tar.gz", "media.tar", "db.tar.bz2"], ..Script::default() };
    let plan = plan_restore(&restore_request(), &inventory(), &script);
    let locations: Vec<String> = plan.inputs().map(|input| input.location.to_string()).collect();
    assert_eq!(locations, ["/backup/db.tar.bz2", "/backup/media.tar"]);
    assert_eq!(
        plan.notes,
        [
            "db: '/backup/db.tar.gz' is used, which is newer than '/backup/db.tar'",
            "db: '/backup/db.tar.bz2' is used, which is newer than '/backup/db.tar.gz'"
        ]
    );
}

#[test]
fn the_format_is_that_of_the_stacks_guide_unless_one_is_given() {
    let suffix = |gzip_with: Option<&str>, format, change: &dyn Fn(&mut Inventory)| {
        let mut inventory = inventory();
        change(&mut inventory);
        let layout = Layout { gzip_with: gzip_with.map(str::to_owned), ..layout() };
        let plan = plan_backup(&BackupRequest { layout, format, ..backup_request() }, &inventory, &Script::default());
        plan.archives[0].destination.to_string()
    };
    let later = |inventory: &mut Inventory| inventory.containers.push(container("cvat_server", "/data"));
    assert_eq!(suffix(Some("cvat_server"), None, &|_| {}), "/backup/db.tar.bz2");
    assert_eq!(suffix(Some("cvat_server"), None, &later), "/backup/db.tar.gz");
    assert_eq!(suffix(None, None, &later), "/backup/db.tar.bz2");
    assert_eq!(suffix(Some("cvat_server"), Some(Format::Zstd), &later), "/backup/db.tar.zst");
    let of_another_project = |inventory: &mut Inventory| {
        later(inventory);
        for (i, container) in inventory.containers.iter_mut().enumerate() {
            container.project = Some(if i == 2 { "other" } else { "stack" }.to_owned());
        }
    };
    assert_eq!(suffix(Some("cvat_server"), None, &of_another_project), "/backup/db.tar.bz2");
    // Archives of containers without a project can be those of any stack.
    let in_a_project = |inventory: &mut Inventory| {
        later(inventory);
        inventory.containers[2].project = Some("stack".to_owned());
    };
    assert_eq!(suffix(Some("cvat_server"), None, &in_a_project), "/backup/db.tar.gz");
}

fn layout_with(more: &str) -> Layout {
    let text = format!(
        "[[archive]]\nname = \"db\"\ncontainer = \"db\"\npath = \"/var/lib/postgresql/data\"\n{more}\
         [[archive]]\nname = \"media\"\ncontainer = \"media\"\npath = \"/srv/media\"\n"
    );
    Layout::parse("stack.toml", &text).unwrap()
}

#[test]
fn each_archive_has_the_format_of_its_entry_unless_one_is_given_for_all() {
    let suffixes = |format| {
        let layout = layout_with("format = \"tar\"\n");
        let plan = plan_backup(&BackupRequest { layout, format, ..backup_request() }, &inventory(), &Script::default());
        plan.jobs().iter().map(|job| format!("{} {}", job.destination, job.compression.format())).collect::<Vec<_>>()
    };
    assert_eq!(suffixes(None), ["/backup/db.tar tar", "/backup/media.tar.bz2 bz2"]);
    assert_eq!(suffixes(Some(Format::Gzip)), ["/backup/db.tar.gz gz", "/backup/media.tar.gz gz"]);
}

#[test]
fn a_cluster_is_expected_where_the_layout_says_so() {
    let refused = |more: &str| {
        backup_refusals(|request, _, script| {
            request.layout = layout_with(more);
            script.measured = Ok(Measured { members: 9, database: false, ..Measured::default() });
        })
    };
    assert_eq!(refused(""), ["db: '/var/lib/postgresql/data' holds no PG_VERSION, so it is no PostgreSQL database"]);
    assert_eq!(refused("database = false\n"), Vec::<String>::new());
}

fn exclude(patterns: &[&str]) -> Exclude {
    Exclude::new(patterns.iter().map(|text| Pattern::parse(text.as_bytes()).unwrap()).collect())
}

#[test]
fn patterns_of_the_layout_and_of_the_request_are_excluded() {
    let layout = layout_with("exclude = [\"*.pid\"]\n");
    let request = BackupRequest { layout, exclude: exclude(&["*.log"]), ..backup_request() };
    let plan = plan_backup(&request, &inventory(), &Script::default());
    let jobs = plan.jobs();
    let is_out = |job: usize, name: &str| jobs[job].exclude.matching(name.as_bytes()).is_some();
    assert!(is_out(0, "x/a.pid") && is_out(0, "x/a.log") && !is_out(1, "x/a.pid") && is_out(1, "x/a.log"));
    let measured = Measured { members: 9, excluded: 3, database: true, ..Measured::default() };
    let plan = plan_backup(&request, &inventory(), &Script { measured: Ok(measured), ..Script::default() });
    assert!(backup_text(&plan).contains("  size       9 members (3 excluded), "), "{}", backup_text(&plan));
    assert_eq!(serde_json::to_value(BackupDocument::new(&plan)).unwrap()["archives"][0]["excluded"], 3);
}

#[test]
fn a_pattern_that_excludes_all_is_refused() {
    let refused = |pattern: &str| backup_refusals(|request, _, _| request.exclude = exclude(&[pattern]));
    assert_eq!(refused("media"), ["media: 'media' excludes '/srv/media' itself, and so all of it"]);
    assert_eq!(refused("media/media"), Vec::<String>::new());
    let plan = plan_backup(
        &BackupRequest { exclude: exclude(&["media"]), ..backup_request() },
        &inventory(),
        &Script::default(),
    );
    assert!(plan.refusals[0].advice().unwrap().contains("'srv/media/media'"), "{:?}", plan.refusals);
    let nothing_left = backup_refusals(|request, _, script| {
        request.exclude = exclude(&["media/*"]);
        script.measured = Ok(Measured { members: 1, excluded: 5, ..Measured::default() });
    });
    assert_eq!(nothing_left[1], "media: '/srv/media' holds nothing, without what is excluded");
}

#[test]
fn archives_in_another_format_are_noted() {
    let script = Script { occupied: Occupied::File, ..Script::default() };
    let plan = plan_backup(&BackupRequest { overwrite: true, ..backup_request() }, &inventory(), &script);
    assert_eq!(plan.notes[0], "db: '/backup/db.tar.gz' is there too; a restore takes the newer one");
}

#[test]
fn a_single_file_may_have_any_name_if_only_selects_its_archive() {
    let request = RestoreRequest {
        sources: vec!["/tmp/x.tar".into()],
        selection: Selection { only: vec!["media".to_owned()], ..Selection::default() },
        ..restore_request()
    };
    let script = Script { files: vec!["/tmp/x.tar"], ..Script::default() };
    let plan = plan_restore(&request, &inventory(), &script);
    assert_eq!(plan.inputs().map(|input| &input.archive[..]).collect::<Vec<_>>(), ["media"]);
}

#[test]
fn a_check_is_run_in_the_container_or_service_that_it_names() {
    let of = |project: &str, name: &str, service: &str, state| Container {
        project: Some(project.to_owned()),
        service: Some(service.to_owned()),
        state,
        ..container(name, "/none")
    };
    let mut inventory = inventory();
    inventory.others = vec![
        of("a", "a-web-1", "web", State::Stopped),
        of("a", "a-web-2", "web", State::Running),
        of("b", "b-web-1", "web", State::Running),
        of("b", "b-worker-1", "worker", State::Running),
    ];
    let plan = |check: &str, project: Option<&str>, inventory: &Inventory| {
        let checks = vec![Check::parse(&format!("{check}: true")).unwrap()];
        let selection = Selection { project: project.map(str::to_owned), ..Selection::default() };
        plan_restore(&RestoreRequest { selection, checks, ..restore_request() }, inventory, &Script::default())
    };
    let checked = |check: &str, project: Option<&str>| {
        let plan = plan(check, project, &inventory);
        plan.checks.first().map_or_else(|| plan.refusals.last().unwrap().to_string(), |check| check.name.clone())
    };
    assert_eq!(checked("b-web-1", None), "b-web-1");
    assert_eq!(checked("worker", None), "b-worker-1");
    assert_eq!(checked("web", Some("a")), "a-web-2", "the one that is running");
    assert_eq!(checked("web", None), "the check 'web: true': service 'web' exists in several projects: a, b");
    assert_eq!(checked("wep", None), "the check 'wep: true': there is no container or service 'wep'");
    let stopped = plan("db", None, &inventory);
    assert_eq!(
        stopped.notes,
        ["the check 'db: true' will fail: container 'db' is not running, and only what voltar stops is started"]
    );
    assert!(stopped.refusals.is_empty());
    let without_engine = plan("db", None, &Inventory { labels_unknown: true, ..inventory });
    assert!(without_engine.checks.is_empty() && without_engine.refusals.is_empty());
    assert_eq!(without_engine.notes, ["the checks of the layout are not run: with --data-root no engine is used"]);
}

#[test]
fn a_restore_plan_is_printed_completely() {
    let mut running = inventory();
    running.containers[0].state = State::Running;
    let checks = vec![Check::parse("db: pg_isready").unwrap()];
    let request = RestoreRequest { running: Running::Stop, keep_previous: true, checks, ..restore_request() };
    let script = Script {
        mounted_below: vec!["/volumes/x".into()],
        way: Way::Entries,
        decompress_time: Some(Duration::from_secs(360)),
        ..Script::default()
    };
    let mut plan = plan_restore(&request, &running, &script);
    plan.refusals.truncate(1);
    plan.archives.truncate(1);
    assert_eq!(
        restore_text(&plan),
        "from a test\n\
         \n\
         db <- /backup/db.tar.bz2 (1000 B)\n\
         \x20 container  db (running)\n\
         \x20 path       /var/lib/postgresql/data\n\
         \x20 volume     db: /volumes/db/_data\n\
         \x20 used by    db (running)\n\
         \x20 extracted  to a staged tree inside it; the entries of the two are exchanged one by one\n\
         \x20 free       977 KiB\n\
         \n\
         time: about 3 min with 4 threads, if the disk keeps up\n\
         stopped meanwhile, and started again: db\n\
         previous content: kept\n\
         checked at the end: db: pg_isready\n\
         \n\
         A restore would be refused:\n\
         \x20 - db: a filesystem of this host is mounted at '/volumes/x', inside '/volumes/db/_data'\n\
         \x20   replacing the directory would take that filesystem with it: unmount it, or use --merge\n"
    );
    let document = serde_json::to_value(RestoreDocument::new(&plan)).unwrap();
    assert_eq!(document["archives"][0]["ways"][0], "entries");
    assert_eq!(document["archives"][0]["container"], "db");
    assert_eq!(document["stopped"][0], "db");
    assert_eq!(document["mode"], "replace");
    assert_eq!(document["checks"], serde_json::json!([{"container": "db", "command": "pg_isready"}]));
    // Two archives of 6 minutes each, on four cores.
    assert_eq!(document["estimated_seconds"], 180.0);
    assert!(document["refusals"][0]["hint"].as_str().unwrap().contains("--merge"));
}

#[test]
fn what_is_not_known_is_called_unknown() {
    let condition = Condition { free_bytes: None, ..Script::default().condition };
    let script = Script { measured: Err(Error::refused("unreadable")), condition, ..Script::default() };
    let text = backup_text(&plan_backup(&backup_request(), &inventory(), &script));
    assert_eq!(text.matches("\n  size       unknown\n").count(), 2, "{text}");
    assert!(text.contains("\nfree at '/backup': unknown, needed: unknown\ntime: unknown\n"), "{text}");
    let text = restore_text(&plan_restore(&restore_request(), &inventory(), &Script::default()));
    assert!(text.contains("\ntime: unknown\n"), "{text}");
    let document = backup_json(&plan_backup(&backup_request(), &inventory(), &script));
    assert!(document["archives"][0]["members"].is_null() && document["estimated_seconds"].is_null());
}

fn backup_json(plan: &BackupPlan) -> serde_json::Value {
    serde_json::to_value(BackupDocument::new(plan)).unwrap()
}

#[test]
fn the_time_is_that_of_all_cores_or_of_the_slowest_thread() {
    let measured = |compress_time, stream_bytes| {
        let measured = Measured { members: 9, database: true, compress_time, stream_bytes, ..Measured::default() };
        Script { measured: Ok(measured), ..Script::default() }
    };
    let time = |script: &Script| plan_backup(&backup_request(), &inventory(), script).time;
    // Two archives, four cores.
    let minute = Duration::from_secs(60);
    assert_eq!(time(&measured(Some(2 * minute), 0)), Some(minute));
    assert_eq!(time(&measured(Some(Duration::ZERO), 60_000_000_000)), Some(minute));
    assert_eq!(time(&measured(None, 60_000_000_000)), None);
}

#[test]
fn each_user_has_a_line_and_each_hint_is_printed_once() {
    let mut host = inventory();
    host.containers[1].image = "cvat/server:v2.2.0".to_owned();
    let mut worker = host.containers[1].clone();
    (worker.id, worker.name, worker.state) = ("idworker".to_owned(), "worker".to_owned(), State::Running);
    host.containers.push(worker);
    let script = Script { occupied: Occupied::File, ..Script::default() };
    let plan = plan_backup(&backup_request(), &host, &script);
    let text = backup_text(&plan);
    let users =
        "\n  used by    media (stopped)  cvat/server:v2.2.0\n             worker (running)  cvat/server:v2.2.0\n";
    assert!(text.contains(users), "{text}");
    assert_eq!(backup_json(&plan)["archives"][1]["users"][1]["image"], "cvat/server:v2.2.0");
    let exist = "  - db: '/backup/db.tar.bz2' exists already\n  - media: '/backup/media.tar.bz2' exists already\n    --overwrite";
    assert!(text.contains(exist), "{text}");
    assert_eq!(text.matches("--overwrite").count(), 1, "{text}");
}

#[test]
fn standard_output_takes_one_archive_and_commands_take_any_number() {
    let plan_to = |sink: Sink, only: &[&str]| {
        let only = only.iter().map(|&only| only.to_owned()).collect();
        let request = BackupRequest { sink, selection: Selection { only, ..Selection::default() }, ..backup_request() };
        backup::plan(&request, "a test".to_owned(), &inventory(), &Script::default(), Estimate::Always)
    };
    let error = plan_to(Sink::Stdout, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.to_string(), "standard output takes one archive, and 2 are selected: db, media");
    let plan = plan_to(Sink::Stdout, &["media"]).unwrap();
    assert!(plan.refusals.is_empty());
    let document = backup_json(&plan);
    assert_eq!((&document["sink"], &document["archives"][0]["file"]), (&"stdout".into(), &"-".into()));

    let plan = plan_to(Sink::Command("rclone rcat r:x/{file}".to_owned()), &[]).unwrap();
    let commands: Vec<String> = plan.archives.iter().map(|planned| planned.destination.to_string()).collect();
    assert_eq!(commands, ["`rclone rcat r:x/db.tar.bz2`", "`rclone rcat r:x/media.tar.bz2`"]);
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    let same = |command: &str, only: &[&str]| plan_to(Sink::Command(command.to_owned()), only).unwrap().notes.len();
    assert_eq!(same("cat > x", &[]), 1);
    assert_eq!((same("cat > x", &["db"]), same("cat > $VOLTAR_FILE", &[])), (0, 0));
}

#[test]
fn a_backup_plan_is_printed_with_what_would_be_stopped() {
    let mut running = inventory();
    running.containers[1].state = State::Running;
    let request = BackupRequest { running: Running::Stop, ..backup_request() };
    let plan = plan_backup(&request, &running, &Script::default());
    let text = backup_text(&plan);
    assert!(text.contains("\ndb -> /backup/db.tar.bz2\n"), "{text}");
    assert!(text.ends_with("stopped meanwhile, and started again: media\n"), "{text}");
    let document = serde_json::to_value(BackupDocument::new(&plan)).unwrap();
    assert_eq!(document["stopped"][0], "media");
    assert_eq!(document["folder"], "/backup", "the name is kept for compatibility");
}

/// Returns an inventory of a project of which all is running: the database, the media, a server that mounts nothing, and
/// what else `change` adds; and of a container of another project.
fn project(change: impl Fn(&mut Vec<Container>)) -> Inventory {
    let of = |project: &str, container: Container| Container {
        project: Some(project.to_owned()),
        state: State::Running,
        ..container
    };
    let mut containers = inventory().containers;
    containers.extend(["server", "proxy"].map(|name| Container { mounts: Vec::new(), ..container(name, "/") }));
    change(&mut containers);
    let mut containers: Vec<Container> = containers.into_iter().map(|one| of("stack", one)).collect();
    containers.push(of("other", Container { mounts: Vec::new(), ..container("neighbour", "/") }));
    containers[3].state = State::Stopped;
    Inventory { containers, ..Inventory::default() }
}

#[test]
fn stop_project_stops_all_that_runs_of_the_project() {
    let running = project(|_| {});
    let names = |containers: &[Container]| containers.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let backup = BackupRequest { running: Running::StopProject, ..backup_request() };
    let plan = plan_backup(&backup, &running, &Script::default());
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    assert_eq!(names(&plan.to_stop), ["db", "media", "server"]);
    assert_eq!(names(&plan.users), ["db", "media"]);
    let all: Vec<_> = plan.containers().map(|one| &one.name[..]).collect();
    assert_eq!(all, ["db", "media", "server"], "each once");
    let text = backup_text(&plan);
    let end = "stopped meanwhile, and started again: db, media\nlikewise, as part of the compose project: server\n";
    assert!(text.ends_with(end), "{text}");
    let document = serde_json::to_value(BackupDocument::new(&plan)).unwrap();
    assert_eq!(document["stopped"], serde_json::json!(["db", "media", "server"]));
    assert_eq!(
        document["stop_reasons"][1],
        serde_json::json!({"container": "media", "reason": "uses_volumes", "project": "stack"})
    );
    assert_eq!(document["stop_reasons"][2]["reason"], "project");
    let restore = RestoreRequest { running: Running::StopProject, ..restore_request() };
    assert_eq!(names(&plan_restore(&restore, &running, &Script::default()).to_stop), ["db", "media", "server"]);
    // --only selects the archives, and they the project.
    let only = Selection { only: vec!["media".to_owned()], ..Selection::default() };
    let plan = plan_backup(&BackupRequest { selection: only, ..backup }, &running, &Script::default());
    assert_eq!(names(&plan.to_stop), ["media", "db", "server"]);
}

/// A host of which only the containers are read that are asked for.
struct Listed(Inventory);

impl Host for Listed {
    fn describe(&self) -> String {
        "a test".to_owned()
    }

    fn inventory(&self) -> Result<Inventory> {
        Ok(self.0.clone())
    }

    fn inventory_of(&self, selected: &dyn Fn(&Inventory) -> BTreeSet<String>) -> Result<Inventory> {
        let (mut inventory, selected) = (self.0.clone(), selected(&self.0));
        inventory.containers.retain(|container| selected.contains(&container.id));
        Ok(inventory)
    }

    fn stop(&self, _: &[&str], _: &mut dyn FnMut(&str, Result<StopOutcome>)) {}

    fn start(&self, _: &[&str], _: &mut dyn FnMut(&str, Result<()>)) {}
}

#[test]
fn all_containers_of_a_project_are_read_if_all_are_stopped() {
    let host = Listed(project(|_| {}));
    for (running, expected) in
        [(Running::Stop, &["db", "media"][..]), (Running::StopProject, &["db", "media", "server", "proxy"])]
    {
        let backup = BackupRequest { running, ..backup_request() }.inventory(&host);
        let restore = RestoreRequest { running, ..restore_request() }.inventory(&host);
        for inventory in [backup, restore].map(Result::unwrap) {
            let names: Vec<&str> = inventory.containers.iter().map(|one| &one.name[..]).collect();
            assert_eq!(names, expected, "{running:?}");
        }
    }
}

#[test]
fn stop_names_what_of_the_project_is_left_running() {
    let running = project(|_| {});
    let backup = BackupRequest { running: Running::Stop, ..backup_request() };
    let plan = plan_backup(&backup, &running, &Script::default());
    assert_eq!(plan.left_running, ["server"]);
    let end = "stopped meanwhile, and started again: db, media\n\
               left running, of the same compose project: server (--stop=project stops them)\n";
    assert!(backup_text(&plan).ends_with(end), "{}", backup_text(&plan));
    let refused = plan_backup(&backup_request(), &running, &Script::default());
    assert!(refused.left_running.is_empty() && refused.to_stop.is_empty());
    let restore = RestoreRequest { running: Running::Stop, ..restore_request() };
    assert_eq!(plan_restore(&restore, &running, &Script::default()).left_running, ["server"]);
}

#[test]
fn stop_project_refuses_what_could_not_be_started_again() {
    let running = project(|containers| {
        let job = |name: &str| Container { mounts: Vec::new(), ..container(name, "/") };
        containers.push(Container { one_off: true, ..job("migration") });
        containers.push(Container { one_off: true, auto_remove: true, ..job("shell") });
    });
    let expected = [
        "containers of the compose project are deleted when they stop (--rm): shell",
        "containers of the compose project were created for one command (`docker compose run`): migration",
    ];
    let backup = |running_containers| BackupRequest { running: running_containers, ..backup_request() };
    let plan = plan_backup(&backup(Running::StopProject), &running, &Script::default());
    assert_eq!(messages(&plan.refusals), expected);
    let plan = plan_backup(&backup(Running::Stop), &running, &Script::default());
    assert_eq!(messages(&plan.refusals), Vec::<String>::new());
}

#[test]
fn stop_project_without_a_project_stops_the_users() {
    let mut running = inventory();
    running.containers[1].state = State::Running;
    let request = BackupRequest { running: Running::StopProject, ..backup_request() };
    let plan = plan_backup(&request, &running, &Script::default());
    assert_eq!(plan.to_stop.len(), 1);
    assert_eq!(plan.notes, ["the volumes belong to no compose project: only the containers that use them are stopped"]);
}

#[test]
fn a_project_that_is_down_is_noted_in_a_plan() {
    let mut host = inventory();
    host.volumes = vec![volume("db")];
    let expected = "project 'stack' is down and has volumes of this layout too: db (--project stack selects them)";
    assert_eq!(plan_backup(&backup_request(), &host, &Script::default()).notes, [expected]);
    assert_eq!(plan_restore(&restore_request(), &host, &Script::default()).notes, [expected]);
}

#[test]
fn a_plan_without_archives_has_no_figures() {
    let text = backup_text(&plan_backup(&backup_request(), &Inventory::default(), &Script::default()));
    assert!(text.contains("would be refused") && !text.contains("free at") && !text.contains("time:"), "{text}");
    let text = backup_text(&plan_backup(&backup_request(), &inventory(), &Script::default()));
    assert!(text.contains("free at"), "{text}");
}

#[test]
fn an_archive_is_searched_for_clusters_where_there_is_something_to_compare() {
    let script = Script { clusters: vec![Cluster::of_version(RelPath::root(), "10")], ..Script::default() };
    let versions = |plan: &RestorePlan| plan.archives.iter().map(|one| one.versions.len()).collect::<Vec<_>>();
    let plan = plan_restore(&restore_request(), &inventory(), &script);
    assert_eq!(versions(&plan), [1, 0], "only the first is at the path of PostgreSQL's image");
    assert!(plan.refusals.is_empty() && restore_text(&plan).contains("\n  database   PostgreSQL 10 in the archive\n"));

    let script = Script { live_version: MajorVersion::of_file(b"15\n"), ..script };
    let plan = plan_restore(&restore_request(), &inventory(), &script);
    assert_eq!((versions(&plan), plan.refusals.len()), (vec![1, 1], 2));
    let document = serde_json::to_value(RestoreDocument::new(&plan)).unwrap();
    let expected = serde_json::json!({"archive": "10", "volume": "15", "image": null});
    assert_eq!(document["archives"][0]["postgresql"], expected);
    let forced = RestoreRequest { force_version: true, ..restore_request() };
    let plan = plan_restore(&forced, &inventory(), &script);
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    assert_eq!(plan.notes.iter().filter(|note| note.ends_with("(--force-version)")).count(), 2, "{:?}", plan.notes);
}

/// Returns a request for what has changed since full archives of both trees.
fn changes_request() -> BackupRequest {
    let file = |file: &str| FileRecord { file: file.to_owned(), bytes: 3, sha256: Digest([0; 32]) };
    let full = |name: &str, path: &str| Full {
        set: SetName::at(jiff::Timestamp::UNIX_EPOCH),
        record: ArchiveRecord {
            name: name.to_owned(),
            path: path.to_owned(),
            sources: vec![name.to_owned()],
            format: "bz2".to_owned(),
            xattrs: false,
            members: 9,
            stream_bytes: 3000,
            postgres: None,
            first_pass: None,
            archive: Some(file("archive")),
            index: Some(file("index")),
            base: None,
            gone: None,
        },
        file: file("archive"),
        index: Location::new("/backup/index"),
    };
    let full = vec![full("db", "var/lib/postgresql/data"), full("media", "srv/media")];
    BackupRequest { since: Some(FullArchives::from_archives(full)), ..backup_request() }
}

/// A database that was running has rewritten most of its files.
#[test]
fn a_database_of_the_layout_is_archived_whole_without_a_cluster_in_it() {
    let plan = plan_backup(&changes_request(), &inventory(), &Script::default());
    let [db, media] = &plan.archives[..] else { panic!() };
    assert!(db.measured.as_ref().unwrap().clusters.is_empty());
    assert!(matches!(db.scope, PlannedScope::AllOrSame(_)) && matches!(media.scope, PlannedScope::Changes(_)));
    let since = [&db.scope, &media.scope, &PlannedScope::Twice, &PlannedScope::Indexed].map(PlannedScope::since);
    let set = Some("the set 1970-01-01T00-00-00Z".to_owned());
    assert_eq!(since, [set.clone(), set, Some("the first pass".to_owned()), None]);
}

#[test]
fn the_first_of_two_passes_is_measured_and_the_second_is_not_known() {
    let stream_bytes = 20_480;
    let script = Script {
        measured: Ok(Measured { members: 9, stream_bytes, database: true, ..Measured::default() }),
        ..Script::default()
    };
    let running = |container: Container| Container { state: State::Running, ..container };
    let inventory = Inventory { containers: inventory().containers.into_iter().map(running).collect(), ..inventory() };
    let request = BackupRequest { two_pass: true, running: Running::Stop, ..backup_request() };
    let plan = plan_backup(&request, &inventory, &script);
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    let first = plan.first_pass();
    assert!(!first.is_empty());
    for (number, job) in first {
        assert!(job.is_first_pass && job.expected_bytes == Some(stream_bytes));
        let second = &plan.jobs()[number];
        assert!(!second.is_first_pass && second.expected_bytes.is_none());
    }
    let once = plan_backup(&backup_request(), &self::inventory(), &script);
    assert!(once.first_pass().is_empty());
    assert_eq!(once.jobs().iter().map(|job| job.expected_bytes).collect::<Vec<_>>(), [Some(stream_bytes); 2]);
}

#[test]
fn the_version_of_a_cluster_is_known_when_it_is_archived() {
    let clusters = vec![Cluster::default(), Cluster::of_version(path("15/main"), "15")];
    let measured = Ok(Measured { members: 9, database: true, clusters, ..Measured::default() });
    let plan = plan_backup(&backup_request(), &inventory(), &Script { measured, ..Script::default() });
    let versions = plan.archives.iter().map(|planned| planned.versions.volume);
    assert_eq!(versions.collect::<Vec<_>>(), [MajorVersion::of_file(b"15"); 2]);
}

/// The others may be on no container or volume of this host.
#[test]
fn only_the_volumes_of_archives_that_are_there_are_looked_for() {
    let script = Script { archives: vec!["media.tar.gz"], ..Script::default() };
    let only_media = Inventory { containers: inventory().containers.split_off(1), ..inventory() };
    let plan = plan_restore(&restore_request(), &only_media, &script);
    assert!(plan.refusals.is_empty(), "{:?}", plan.refusals);
    assert_eq!(plan.inputs().map(|input| &input.archive[..]).collect::<Vec<_>>(), ["media"]);
}

#[test]
fn all_of_a_tree_is_archived_instead_only_if_the_index_is_damaged() {
    for (kind, is_whole) in [(ErrorKind::Damaged, true), (ErrorKind::Refused, false), (ErrorKind::Failed, false)] {
        let script = Script { index: Some(Error::new(kind, "cannot be compared")), ..Script::default() };
        let plan = plan_backup(&changes_request(), &inventory(), &script);
        assert_eq!(plan.archives[1].scope == PlannedScope::Indexed, is_whole, "{kind:?}");
        let refusals = plan.refusals.iter().map(Error::to_string).collect();
        let (said, expected) = if is_whole {
            (plan.notes, "media: all of it is archived, not only what has changed: cannot be compared")
        } else {
            (refusals, "media: cannot be compared")
        };
        assert_eq!(said, [expected]);
    }
}
