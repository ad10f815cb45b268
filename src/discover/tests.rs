//! Hosts, and the layouts that describe them.

use super::*;
use crate::host::Dependency;
use crate::resolve::{Selection, resolve};

fn mount(kind: MountKind, source: &str, destination: &str) -> Mount {
    Mount {
        destination: destination.to_owned(),
        source: Some(source.into()),
        subpath: RelPath::root(),
        kind,
        read_only: false,
        non_recursive: false,
        place: None,
    }
}

fn volume_mount(name: &str, destination: &str) -> Mount {
    let kind = MountKind::Volume { name: name.to_owned(), driver: "local".to_owned() };
    mount(kind, &format!("/v/{name}/_data"), destination)
}

fn bind(source: &str, destination: &str) -> Mount {
    mount(MountKind::Bind, source, destination)
}

fn container(project: Option<&str>, service: &str, mounts: Vec<Mount>) -> Container {
    let name = project.map_or(service.to_owned(), |project| format!("{project}-{service}-1"));
    Container {
        id: format!("id of {name}"),
        name,
        image: format!("{service}:1"),
        project: project.map(str::to_owned),
        service: project.map(|_| service.to_owned()),
        mounts,
        ..Container::default()
    }
}

fn volume(project: &str, name: &str) -> Volume {
    Volume::of_compose(project, name)
}

/// A stack with everything that is archived, and everything that is left out.
fn wordpress() -> Inventory {
    let read_only = |mount| Mount { read_only: true, ..mount };
    let db = Container {
        environment: vec!["PGDATA=/var/lib/pg/16".to_owned()],
        ..container(Some("wp"), "db", vec![volume_mount("wp_db_data", "/var/lib/pg")])
    };
    let web = Container {
        name: "web".to_owned(),
        depends_on: vec![Dependency { on: "db".to_owned(), healthy: false }],
        ..container(
            Some("wp"),
            "wordpress",
            vec![
                volume_mount("wp_html", "/var/www/html"),
                bind("/srv/uploads", "/var/www/html/uploads"),
                bind("/srv/uploads/2026", "/year"),
                bind("/srv/php.ini", "/etc/php.ini"),
                read_only(bind("/srv/config", "/config")),
                bind("/run/x", "/run/x"),
                bind("/srv/missing", "/missing"),
                Mount { source: None, ..mount(MountKind::Tmpfs, "/", "/tmp") },
            ],
        )
    };
    let docker = bind("/var/run/docker.sock", "/var/run/docker.sock");
    let nfs = MountKind::Volume { name: "far".to_owned(), driver: "rexray".to_owned() };
    let anonymous = "0123456789abcdef".repeat(4);
    let backup = container(
        Some("wp"),
        "a-backup",
        vec![
            read_only(volume_mount("wp_db_data", "/db")),
            volume_mount("shared", "/shared"),
            volume_mount(&anonymous, "/cache"),
            docker,
            mount(nfs, "", "/far"),
        ],
    );
    Inventory {
        containers: vec![web, backup, db],
        volumes: vec![volume("wp", "db_data"), volume("wp", "html"), volume("wp", "unused")],
        ..Inventory::default()
    }
}

fn look(path: &Path) -> Source {
    match path.to_str().unwrap() {
        "/var/run/docker.sock" => Source::Socket,
        "/srv/php.ini" => Source::File,
        "/srv/missing" => Source::Unknown,
        _ => Source::Directory,
    }
}

fn text(inventory: &Inventory) -> String {
    describe(inventory, None, &[], &look).unwrap()
}

#[test]
fn a_stack_is_described_as_a_layout() {
    let expected = r#"# A layout for voltar, of the compose project wp. Save it, and use it as --layout FILE.

project = "wp"

# anonymous volume 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef, in wp-a-backup-1 (a-backup:1)
[[archive]]
name = "a-backup_cache"
container = "a-backup"
path = "/cache"

# volume wp_db_data, in wp-a-backup-1 (a-backup:1), wp-db-1 (db:1)
[[archive]]
name = "db_data"
container = "db"
volume = "db_data"
path = "/var/lib/pg"
database = true

# volume wp_html, in web (wordpress:1)
[[archive]]
name = "html"
container = "web"
volume = "html"
path = "/var/www/html"

# volume shared, in wp-a-backup-1 (a-backup:1)
[[archive]]
name = "shared"
container = "a-backup"
volume = "shared"
path = "/shared"

# volume wp_unused, which no container has now: replace the path by that in its container, with which the names of the members begin
[[archive]]
name = "unused"
volume = "unused"
path = "/unused"

# directory /srv/uploads, in web (wordpress:1)
[[archive]]
name = "web_uploads"
container = "web"
path = "/var/www/html/uploads"

# Left out:
#   /config of web: mounted read-only
#   /etc/php.ini of web: a single file
#   /far of wp-a-backup-1: a volume of the driver rexray
#   /missing of web: it does not exist
#   /run/x of web: a directory of the host's system
#   /tmp of web: memory (tmpfs)
#   /var/run/docker.sock of wp-a-backup-1: a socket
#   /year of web: inside '/srv/uploads', which is another entry's
"#;
    assert_eq!(text(&wordpress()), expected);
    let mut shuffled = wordpress();
    shuffled.containers.reverse();
    shuffled.volumes.reverse();
    shuffled.containers.iter_mut().for_each(|container| container.mounts.reverse());
    assert_eq!(text(&shuffled), expected, "the order of the engine's answer does not matter");
}

#[test]
fn the_layout_finds_what_it_describes() {
    let host = wordpress();
    let layout = Layout::parse("wp.toml", &text(&host)).unwrap();
    let selection = Selection { project: layout.project.clone(), ..Selection::default() };
    let mut with_shared = host.clone();
    with_shared.volumes.push(Volume {
        name: "shared".to_owned(),
        mountpoint: "/v/shared/_data".into(),
        ..Volume::default()
    });
    let sources = |host: &Inventory| {
        let resolution = resolve(&layout, host, &selection).unwrap();
        resolution.targets.iter().map(|target| target.tree.mounts[0].root()).collect::<Vec<_>>()
    };
    let anonymous = format!("/v/{}/_data", "0123456789abcdef".repeat(4));
    let volumes = ["/v/wp_db_data/_data", "/v/wp_html/_data", "/v/shared/_data", "/v/wp_unused/_data"];
    let expected: Vec<PathBuf> =
        std::iter::once(&anonymous[..]).chain(volumes).chain(["/srv/uploads"]).map(PathBuf::from).collect();
    assert_eq!(sources(&with_shared), expected);
    // After `docker compose down` the volumes with names are found by those.
    let names = ["db_data", "html", "shared", "unused"].map(str::to_owned).to_vec();
    with_shared.containers.clear();
    let selection = Selection { only: names, ..selection.clone() };
    let resolution = resolve(&layout, &with_shared, &selection).unwrap();
    let roots: Vec<PathBuf> = resolution.targets.iter().map(|target| target.tree.mounts[0].root()).collect();
    assert_eq!(roots, volumes.map(PathBuf::from));
}

#[test]
fn only_selects_entries_by_name() {
    let only = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        describe(&wordpress(), None, &names, &look)
    };
    let names = Layout::parse("x", &only(&["html", "shared"]).unwrap()).unwrap();
    assert_eq!(names.names(), ["html", "shared"]);
    let error = only(&["htm"]).unwrap_err();
    assert_eq!(error.to_string(), "there would be no archive 'htm'");
    assert_eq!(error.advice(), Some("there would be: a-backup_cache, db_data, html, shared, unused, web_uploads"));
}

#[test]
fn of_several_projects_one_must_be_chosen() {
    let mut host = wordpress();
    host.volumes.push(volume("other", "data"));
    let error = describe(&host, None, &[], &look).unwrap_err();
    assert_eq!(error.to_string(), "several compose projects have volumes: other, wp");
    assert_eq!(error.advice(), Some("choose with --project wp"));
    let other = describe(&host, Some("other"), &[], &look).unwrap();
    assert_eq!(Layout::parse("x", &other).unwrap().names(), ["data"]);
    let error = describe(&host, Some("wq"), &[], &look).unwrap_err();
    assert_eq!(error.to_string(), "no compose project 'wq' has volumes");
    assert_eq!(error.advice(), Some("there are: other, wp"));
}

#[test]
fn containers_without_a_project_are_described_together_or_named() {
    let alone = container(None, "alone", vec![volume_mount("data", "/data")]);
    let mut host = Inventory { containers: vec![alone.clone()], ..Inventory::default() };
    let text_alone = text(&host);
    assert!(text_alone.starts_with("# A layout for voltar, of the containers of this host."), "{text_alone}");
    assert!(!text_alone.contains("\nproject"), "{text_alone}");
    assert!(text_alone.contains("\nname = \"data\"\ncontainer = \"alone\"\nvolume = \"data\"\npath = \"/data\"\n"));
    host = wordpress();
    host.containers.push(alone);
    assert!(text(&host).ends_with("\n# Not of this project, and with volumes: alone\n"), "{}", text(&host));
    let error = describe(&Inventory::default(), None, &[], &look).unwrap_err();
    assert_eq!(error.to_string(), "no container has a volume to be archived");
}

#[test]
fn without_labels_the_names_of_volumes_tell_the_project() {
    let mut host = wordpress();
    host.labels_unknown = true;
    for volume in &mut host.volumes {
        (volume.project, volume.compose_name) = (None, None);
    }
    assert!(
        text(&host).contains("\nname = \"db_data\"\ncontainer = \"db\"\nvolume = \"db_data\"\n"),
        "{}",
        text(&host)
    );
}

#[test]
fn hostile_names_give_a_layout_that_loads() {
    let mut host = wordpress();
    let long = "x".repeat(300);
    for (i, name) in
        ["a\"b\\c", "x\n[[archive]]", ".hidden", "a/b", "\u{202e}evil", "", &long, &long].into_iter().enumerate()
    {
        let mut mount =
            volume_mount(&format!("{name}{}", if i > 5 { i.to_string() } else { String::new() }), "/data/\u{1b}[2J");
        mount.source = Some(format!("/v/{i}").into());
        let mut hostile = container(Some("wp"), "evil\nname", vec![mount]);
        hostile.name = format!("evil\n{i}");
        hostile.image = "x\nproject = \"other\"".to_owned();
        host.containers.push(hostile);
    }
    let text = text(&host);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let layout = Layout::parse("x", &text).unwrap();
    assert_eq!(layout.project.as_deref(), Some("wp"));
    let names: BTreeSet<&str> = layout.names().into_iter().collect();
    assert_eq!(names.len(), layout.archives.len());
}
