//! Layouts and the hosts on which their archives are found, or not.

use super::*;
use crate::error::ErrorKind;
use crate::host::{Mount, MountKind};
use crate::monitor::Collector;

fn mount(volume: &str, destination: &str) -> Mount {
    Mount {
        destination: destination.to_owned(),
        source: Some(format!("/v/{volume}/_data").into()),
        subpath: RelPath::root(),
        kind: MountKind::Volume { name: volume.to_owned(), driver: "local".to_owned() },
        read_only: false,
        non_recursive: false,
        place: None,
    }
}

/// Returns a container; each of `mounts` is `volume:destination`.
fn container(name: &str, mounts: &[&str]) -> Container {
    let mounts = mounts.iter().filter_map(|text| text.split_once(':')).map(|(volume, at)| mount(volume, at));
    Container { id: format!("id{name}"), name: name.to_owned(), mounts: mounts.collect(), ..Container::default() }
}

fn labelled(project: &str, service: &str, container: Container) -> Container {
    Container { project: Some(project.to_owned()), service: Some(service.to_owned()), ..container }
}

fn volume(project: &str, name: &str) -> Volume {
    Volume::of_compose(project, name)
}

fn db() -> Container {
    container("cvat_db", &["cvat_cvat_db:/var/lib/postgresql/data"])
}

fn media(name: &str) -> Container {
    container(
        name,
        &["cvat_cvat_data:/home/django/data", "cvat_cvat_keys:/home/django/keys", "cvat_cvat_logs:/home/django/logs"],
    )
}

fn inventory(containers: Vec<Container>, volumes: Vec<Volume>) -> Inventory {
    Inventory { containers, volumes, ..Inventory::default() }
}

fn cvat() -> Layout {
    Layout::load("cvat", &Collector::default()).unwrap()
}

fn only(names: &[&str]) -> Selection {
    Selection { only: names.iter().map(|&name| name.to_owned()).collect(), ..Selection::default() }
}

fn project(name: &str) -> Selection {
    Selection { project: Some(name.to_owned()), ..Selection::default() }
}

/// Returns `archive=container` or `archive=(volume)` for each target.
fn targets(inventory: &Inventory, selection: &Selection) -> Vec<String> {
    let resolution = resolve(&cvat(), inventory, selection).unwrap();
    resolution.targets.iter().map(show).collect()
}

fn show(target: &Target) -> String {
    let MountKind::Volume { name, .. } = &target.tree.mounts[0].kind else { panic!("a volume") };
    match &target.container {
        Some(container) => format!("{}={}", target.archive, container.name),
        None => format!("{}=({name})", target.archive),
    }
}

fn refusal(inventory: &Inventory, selection: &Selection) -> (String, String) {
    let error = resolve(&cvat(), inventory, selection).unwrap_err();
    (error.to_string(), error.advice().unwrap_or_default().to_owned())
}

#[test]
fn a_1_x_host_has_the_archives_of_the_guide() {
    let mut host = inventory(vec![db(), media("cvat")], vec![]);
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=cvat_db", "cvat_data=cvat"]);
    host.containers.push(container("cvat_elasticsearch", &["cvat_cvat_events:/usr/share/elasticsearch/data"]));
    assert_eq!(
        targets(&host, &Selection::default()),
        ["cvat_db=cvat_db", "cvat_data=cvat", "cvat_events=cvat_elasticsearch"]
    );
}

#[test]
fn extra_archives_are_left_out_unless_selected() {
    let host = inventory(vec![db(), media("cvat")], vec![]);
    let resolution = resolve(&cvat(), &host, &Selection::default()).unwrap();
    assert_eq!(resolution.left_out, ["cvat_keys", "cvat_logs"]);
    let all = Selection { all: true, ..Selection::default() };
    assert_eq!(targets(&host, &all), ["cvat_db=cvat_db", "cvat_data=cvat", "cvat_keys=cvat", "cvat_logs=cvat"]);
    assert!(resolve(&cvat(), &host, &all).unwrap().left_out.is_empty());
    assert_eq!(targets(&host, &only(&["cvat_keys"])), ["cvat_keys=cvat"]);
}

#[test]
fn an_extra_archive_without_a_mount_does_not_exist() {
    let host = inventory(vec![db(), container("cvat_server", &["d:/home/django/data"])], vec![]);
    let all = Selection { all: true, ..Selection::default() };
    assert_eq!(targets(&host, &all), ["cvat_db=cvat_db", "cvat_data=cvat_server"]);
    assert!(resolve(&cvat(), &host, &Selection::default()).unwrap().left_out.is_empty());
    let (message, _) = refusal(&host, &only(&["cvat_logs"]));
    assert!(message.starts_with("cvat_logs: '/home/django/logs' of container 'cvat_server' is on no mount"));
}

#[test]
fn the_cache_is_found_at_either_path_of_its_container() {
    for path in ["/data", "/var/lib/kvrocks/data"] {
        let host = inventory(vec![container("cvat_redis_ondisk", &[&format!("cache:{path}")])], vec![]);
        let resolution = resolve(&cvat(), &host, &only(&["cvat_cache_db"])).unwrap();
        assert_eq!(format!("/{}", resolution.targets[0].tree.path), path);
    }
}

#[test]
fn the_later_generation_is_used_if_both_share_their_data() {
    let host = inventory(vec![db(), media("cvat"), media("cvat_server")], vec![]);
    assert_eq!(targets(&host, &only(&["cvat_data"])), ["cvat_data=cvat_server"]);
}

#[test]
fn two_generations_with_different_data_are_refused() {
    let old = container("cvat", &["old_data:/home/django/data"]);
    let (message, hint) = refusal(&inventory(vec![db(), old, media("cvat_server")], vec![]), &Selection::default());
    assert_eq!(
        message,
        "cvat_data: containers 'cvat_server' and 'cvat' both exist and keep it in different directories"
    );
    assert!(hint.contains("--layout"));
}

#[test]
fn a_later_generation_without_its_mount_does_not_fall_back_to_old_data() {
    let host = inventory(vec![db(), media("cvat"), container("cvat_server", &[])], vec![]);
    let (message, _) = refusal(&host, &Selection::default());
    assert!(message.contains("container 'cvat_server' is on no mount"), "{message}");
}

#[test]
fn services_are_found_by_label() {
    let host = inventory(
        vec![
            labelled("cvat", "cvat_db", Container { name: "cvat-cvat_db-1".into(), ..db() }),
            labelled("cvat", "cvat_server", Container { name: "cvat-cvat_server-1".into(), ..media("x") }),
        ],
        vec![],
    );
    let resolution = resolve(&cvat(), &host, &Selection::default()).unwrap();
    let shown: Vec<String> = resolution.targets.iter().map(show).collect();
    assert_eq!(shown, ["cvat_db=cvat-cvat_db-1", "cvat_data=cvat-cvat_server-1", "cvat_keys=cvat-cvat_server-1"]);
    assert_eq!(resolution.targets[0].project.as_deref(), Some("cvat"));
}

fn two_projects() -> Inventory {
    let named = |project: &str, service: &str, mounts: &[&str]| {
        labelled(project, service, container(&format!("{project}-{service}-1"), mounts))
    };
    inventory(
        vec![
            named("a", "cvat_db", &["a_db:/var/lib/postgresql/data"]),
            named("b", "cvat_db", &["b_db:/var/lib/postgresql/data"]),
            named("a", "cvat_server", &["a_data:/home/django/data"]),
            named("b", "cvat_server", &["b_data:/home/django/data"]),
        ],
        vec![],
    )
}

#[test]
fn a_service_in_several_projects_needs_a_choice() {
    let (message, hint) = refusal(&two_projects(), &Selection::default());
    assert_eq!(message, "cvat_db: service 'cvat_db' exists in several projects: a, b");
    assert_eq!(hint, "choose with --project a or --project b");
    assert_eq!(targets(&two_projects(), &project("b")), ["cvat_db=b-cvat_db-1", "cvat_data=b-cvat_server-1"]);
}

#[test]
fn a_container_of_another_project_is_not_taken_by_name() {
    let host = inventory(vec![labelled("a", "cvat_db", db()), labelled("a", "cvat", media("cvat"))], vec![]);
    let selection = Selection { project: Some("b".to_owned()), ..only(&["cvat_db"]) };
    let (message, _) = refusal(&host, &selection);
    assert_eq!(
        message,
        "cvat_db: there is no container 'cvat_db' in project 'b', and no volume with the compose name 'cvat_db'"
    );
}

#[test]
fn all_projects_are_listed() {
    let of = |project: &str| {
        let name = format!("{project}-cvat_db-1");
        labelled(project, "cvat_db", container(&name, &[&format!("{project}:/var/lib/postgresql/data")]))
    };
    let (message, hint) = refusal(&inventory(vec![of("c"), of("a"), of("b")], vec![]), &only(&["cvat_db"]));
    assert_eq!(message, "cvat_db: service 'cvat_db' exists in several projects: a, b, c");
    assert_eq!(hint, "choose with --project a or --project b or --project c");
}

#[test]
fn a_project_that_is_down_beside_one_that_is_up_is_noted() {
    let up = vec![labelled("up", "cvat_db", db()), labelled("up", "cvat", media("cvat"))];
    let of = |project: &str| ["cvat_db", "cvat_data", "cvat_events"].map(|name| volume(project, name));
    let volumes = [of("down").to_vec(), vec![volume("up", "cvat_db"), volume("other", "web")]].concat();
    let mut host = inventory(up, volumes);
    // The events of the other project do not belong to this backup.
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=cvat_db", "cvat_data=cvat"]);
    let notes = |host: &Inventory, selection: &Selection| resolve(&cvat(), host, selection).unwrap().notes;
    assert_eq!(
        notes(&host, &Selection::default()),
        ["project 'down' is down and has volumes of this layout too: cvat_db, cvat_data, cvat_events (--project \
             down selects them)"]
    );
    assert_eq!(notes(&host, &project("up")), Vec::<String>::new());
    let chosen = ["cvat_db=(down_cvat_db)", "cvat_data=(down_cvat_data)", "cvat_events=(down_cvat_events)"];
    assert_eq!(targets(&host, &project("down")), chosen);
    host.others.push(labelled("down", "proxy", container("proxy", &[])));
    assert_eq!(notes(&host, &Selection::default()), Vec::<String>::new(), "it is not down");
}

/// The required volume of a removed container is that of the project which is up.
#[test]
fn volumes_of_the_project_that_is_up_come_first() {
    let volumes = vec![volume("down", "cvat_data"), volume("cvat", "cvat_data")];
    let host = inventory(vec![labelled("cvat", "cvat_db", db())], volumes);
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=cvat_db", "cvat_data=(cvat_cvat_data)"]);
}

#[test]
fn a_one_off_container_is_a_user_and_not_the_service() {
    // `docker compose run` labels it with the service; `parse` has removed that.
    let one_off = Container {
        project: Some("cvat".to_owned()),
        one_off: true,
        ..container("cvat_cvat_db_run_61a2010da80a", &["cvat_cvat_db:/var/lib/postgresql/data"])
    };
    let service = labelled("cvat", "cvat_db", Container { name: "cvat_cvat_db_1".to_owned(), ..db() });
    let host = inventory(vec![one_off.clone(), service], vec![]);
    let resolution = resolve(&cvat(), &host, &only(&["cvat_db"])).unwrap();
    assert_eq!(show(&resolution.targets[0]), "cvat_db=cvat_cvat_db_1");
    assert_eq!(resolution.targets[0].users.len(), 2);
    let (message, _) = refusal(&inventory(vec![one_off], vec![]), &only(&["cvat_db"]));
    assert!(message.contains("there is no container 'cvat_db'"), "{message}");
}

/// The labels that docker-compose 1.29.2 and Docker Compose 2.26 write for the volume `cvat_db` with `name:`, and for an
/// external one.
#[test]
fn volumes_with_fixed_names_and_external_volumes_are_found() {
    let stored = |name: &str, labels: Option<(&str, &str)>| Volume {
        name: name.to_owned(),
        driver: "local".to_owned(),
        mountpoint: format!("/v/{name}/_data").into(),
        project: labels.map(|(project, _)| project.to_owned()),
        compose_name: labels.map(|(_, volume)| volume.to_owned()),
        ..Volume::default()
    };
    let found = |volume: Volume| {
        let host = inventory(vec![], vec![stored("unrelated_cvat_db", None), volume]);
        let resolution = resolve(&cvat(), &host, &only(&["cvat_db"])).unwrap();
        (show(&resolution.targets[0]), resolution.targets[0].project.clone())
    };
    for (volume, project) in [
        // name: cvat_db
        (stored("cvat_db", Some(("stack", "cvat_db"))), Some("stack")),
        // name: ${COMPOSE_PROJECT_NAME}_cvat_db, by v1 and by v2
        (stored("stack_cvat_db", Some(("stack", "stack_cvat_db"))), Some("stack")),
        (stored("stack_cvat_db", Some(("stack", "cvat_db"))), Some("stack")),
        // name: anything, by v2
        (stored("fixed", Some(("stack", "cvat_db"))), Some("stack")),
        // name: cvat_db of the key `database`, by v2
        (stored("cvat_db", Some(("stack", "database"))), Some("stack")),
        // external: true
        (stored("cvat_db", None), None),
    ] {
        let name = format!("cvat_db=({})", volume.name);
        assert_eq!(found(volume), (name, project.map(str::to_owned)));
    }
    // Both can be meant, unless a project is chosen; --project finds an external volume too.
    let both = inventory(vec![], vec![stored("cvat_db", None), volume("cvat", "cvat_db")]);
    assert!(refusal(&both, &only(&["cvat_db"])).0.contains("can be several volumes: cvat_cvat_db, cvat_db"));
    let chosen = Selection { project: Some("cvat".to_owned()), ..only(&["cvat_db"]) };
    assert_eq!(targets(&both, &chosen), ["cvat_db=(cvat_cvat_db)"]);
    let external = inventory(vec![], vec![stored("cvat_db", None)]);
    let selection = Selection { project: Some("stack".to_owned()), ..only(&["cvat_db"]) };
    assert_eq!(targets(&external, &selection), ["cvat_db=(cvat_db)"]);
    let foreign = inventory(vec![], vec![stored("cvat_db", Some(("other", "database")))]);
    assert!(refusal(&foreign, &selection).0.contains("in project 'stack'"));
}

#[test]
fn archives_of_different_projects_are_refused() {
    let mut host = two_projects();
    host.containers.retain(|container| container.id != "idb-cvat_db-1" && container.id != "ida-cvat_server-1");
    let (message, hint) = refusal(&host, &Selection::default());
    assert_eq!(message, "'cvat_db' and 'cvat_data' were found in different projects: a, b");
    assert!(hint.contains("--project"));
}

#[test]
fn replicas_must_share_the_data() {
    let replica = |number: u32, volume: &str| {
        let name = format!("cvat-cvat_db-{number}");
        labelled("cvat", "cvat_db", container(&name, &[&format!("{volume}:/var/lib/postgresql/data")]))
    };
    let shared = inventory(vec![replica(2, "db"), replica(1, "db")], vec![]);
    assert_eq!(targets(&shared, &only(&["cvat_db"])), ["cvat_db=cvat-cvat_db-1"]);
    let different = inventory(vec![replica(1, "db"), replica(2, "db2"), replica(3, "db")], vec![]);
    let (message, hint) = refusal(&different, &only(&["cvat_db"]));
    assert_eq!(
        message,
        "cvat_db: service 'cvat_db' has several containers that keep it in different directories: 'cvat-cvat_db-1', \
         'cvat-cvat_db-2', 'cvat-cvat_db-3'"
    );
    assert!(hint.contains("--layout"));
}

#[test]
fn after_compose_down_the_labelled_volumes_are_used() {
    let volumes = ["cvat_db", "cvat_data", "cvat_events", "cvat_keys"].map(|name| volume("cvat", name)).into();
    let mut host = inventory(vec![], volumes);
    let down = ["cvat_db=(cvat_cvat_db)", "cvat_data=(cvat_cvat_data)", "cvat_events=(cvat_cvat_events)"];
    assert_eq!(targets(&host, &Selection::default()), down);
    let resolution = resolve(&cvat(), &host, &Selection::default()).unwrap();
    assert_eq!(resolution.left_out, ["cvat_keys"]);
    assert_eq!(resolution.targets[1].tree.path.as_bytes(), b"home/django/data");
    // A container of another project makes no difference.
    host.containers.push(labelled("other", "web", container("web", &[])));
    assert_eq!(targets(&host, &Selection::default()), down);
}

#[test]
fn an_optional_archive_is_left_out_if_the_project_has_other_containers() {
    let host = inventory(
        vec![labelled("cvat", "cvat_db", db()), labelled("cvat", "cvat", media("cvat"))],
        vec![volume("cvat", "cvat_events")],
    );
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=cvat_db", "cvat_data=cvat"]);
    // Selected by name, the volume is sufficient.
    assert_eq!(targets(&host, &only(&["cvat_events"])), ["cvat_events=(cvat_cvat_events)"]);
}

#[test]
fn a_required_volume_is_used_while_others_still_have_containers() {
    let host = inventory(vec![labelled("cvat", "cvat_db", db())], vec![volume("cvat", "cvat_data")]);
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=cvat_db", "cvat_data=(cvat_cvat_data)"]);
}

#[test]
fn volumes_of_several_projects_need_a_choice() {
    let volumes = ["a", "b"].iter().flat_map(|project| [volume(project, "cvat_db"), volume(project, "cvat_data")]);
    let host = inventory(vec![], volumes.collect());
    let (message, hint) = refusal(&host, &Selection::default());
    assert_eq!(message, "cvat_db: its container does not exist, and several projects have a volume 'cvat_db': a, b");
    assert_eq!(hint, "choose with --project a or --project b");
    assert_eq!(targets(&host, &project("b")), ["cvat_db=(b_cvat_db)", "cvat_data=(b_cvat_data)"]);
}

#[test]
fn keys_are_usual_since_the_later_generation() {
    let host = inventory(vec![db(), media("cvat_server")], vec![]);
    let resolution = resolve(&cvat(), &host, &Selection::default()).unwrap();
    let shown: Vec<String> = resolution.targets.iter().map(show).collect();
    assert_eq!(shown, ["cvat_db=cvat_db", "cvat_data=cvat_server", "cvat_keys=cvat_server"]);
    assert_eq!(resolution.left_out, ["cvat_logs"]);
    // A container of another project tells nothing, and a server without that mount has no keys.
    let other = labelled("b", "cvat_server", media("b-cvat_server-1"));
    let host = inventory(vec![labelled("a", "x", db()), labelled("a", "cvat", media("cvat")), other], vec![]);
    assert_eq!(targets(&host, &project("a")), ["cvat_db=cvat_db", "cvat_data=cvat"]);
    let host = inventory(vec![db(), container("cvat_server", &["d:/home/django/data"])], vec![]);
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=cvat_db", "cvat_data=cvat_server"]);
}

fn with_volume(archive: &str, volume: &str) -> Selection {
    Selection { volumes: [(archive.to_owned(), volume.to_owned())].into(), ..Selection::default() }
}

#[test]
fn a_volume_that_the_user_names_is_taken_without_a_container() {
    let nas = Volume { project: None, compose_name: None, ..volume("nas", "media") };
    let reader = container("reader", &["nas_media:/elsewhere"]);
    let host = inventory(vec![db(), media("cvat"), reader], vec![nas]);
    let selection = with_volume("cvat_data", "nas_media");
    let resolution = resolve(&cvat(), &host, &selection).unwrap();
    let shown: Vec<String> = resolution.targets.iter().map(show).collect();
    assert_eq!(shown, ["cvat_db=cvat_db", "cvat_data=(nas_media)"]);
    let target = &resolution.targets[1];
    assert!(target.by_name);
    assert_eq!(target.tree.path.as_bytes(), b"home/django/data");
    let users: Vec<&str> = target.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, ["reader"]);
    let (message, _) = refusal(&host, &with_volume("cvat_data", "nas"));
    assert_eq!(message, "cvat_data: there is no volume 'nas'");
    let error = survey(&cvat(), &host, &with_volume("media", "nas_media")).unwrap_err();
    assert_eq!(error.to_string(), "layout 'cvat' has no archive 'media'");
}

fn volume_layout() -> Layout {
    let text = "[[archive]]\nname = \"db\"\nvolume = \"db_data\"\npath = \"/var/lib/mysql\"\n";
    Layout::parse("my.toml", text).unwrap()
}

#[test]
fn an_entry_without_container_is_found_by_either_name_of_its_volume() {
    let named = |name: &str| Volume { name: name.to_owned(), project: None, compose_name: None, ..volume("", "") };
    let found = |volumes: Vec<Volume>, selection: &Selection| {
        let resolution = resolve(&volume_layout(), &inventory(vec![], volumes), selection);
        resolution.map(|resolution| show(&resolution.targets[0])).map_err(|error| error.to_string())
    };
    let any = Selection::default();
    assert_eq!(found(vec![volume("wp", "db_data")], &any).unwrap(), "db=(wp_db_data)");
    assert_eq!(found(vec![named("db_data")], &any).unwrap(), "db=(db_data)");
    let both = || vec![named("db_data"), volume("wp", "db_data")];
    assert_eq!(found(both(), &any).unwrap_err(), "db: 'db_data' can be several volumes: wp_db_data, db_data");
    assert_eq!(found(both(), &project("wp")).unwrap(), "db=(wp_db_data)");
    assert_eq!(
        found(vec![], &any).unwrap_err(),
        "db: there is no volume 'db_data', by its compose name or its full name"
    );
    let two = vec![volume("a", "db_data"), volume("b", "db_data")];
    assert!(found(two, &any).unwrap_err().contains("several projects have a volume 'db_data': a, b"));
    // The name of an archive is a guess, which a label must confirm.
    let text = "[[archive]]\nname = \"db_data\"\ncontainer = \"db\"\npath = \"/var/lib/mysql\"\n";
    let guess = Layout::parse("my.toml", text).unwrap();
    let host = inventory(vec![], vec![named("db_data")]);
    assert!(resolve(&guess, &host, &any).is_err());
}

#[test]
fn names_replace_labels_only_if_labels_cannot_be_read() {
    let unlabelled = |name: &str| Volume { project: None, compose_name: None, ..volume("my_cvat", name) };
    let mut host = inventory(vec![], vec![unlabelled("cvat_db"), unlabelled("cvat_data")]);
    assert!(refusal(&host, &Selection::default()).0.contains("there is no container 'cvat_db'"));
    host.labels_unknown = true;
    assert_eq!(targets(&host, &Selection::default()), ["cvat_db=(my_cvat_cvat_db)", "cvat_data=(my_cvat_cvat_data)"]);
    assert_eq!(targets(&host, &project("my_cvat")).len(), 2);
    assert!(refusal(&host, &project("cvat")).0.contains("in project 'cvat'"));
}

#[test]
fn a_volume_has_the_paths_of_other_generations() {
    let host = inventory(vec![], vec![volume("cvat", "cvat_cache_db")]);
    let resolution = resolve(&cvat(), &host, &only(&["cvat_cache_db"])).unwrap();
    assert_eq!(resolution.targets[0].tree.path.as_bytes(), b"var/lib/kvrocks/data");
    let others: Vec<&[u8]> = resolution.targets[0].alternative_paths.iter().map(RelPath::as_bytes).collect();
    assert_eq!(others, [b"data"]);
    // Both generations mount the media at the same path.
    let host = inventory(vec![], vec![volume("cvat", "cvat_data")]);
    assert!(resolve(&cvat(), &host, &only(&["cvat_data"])).unwrap().targets[0].alternative_paths.is_empty());
}

#[test]
fn a_missing_archive_names_its_containers_and_its_volume() {
    let (message, hint) = refusal(&inventory(vec![db()], vec![]), &Selection::default());
    assert_eq!(
        message,
        "cvat_data: there is no container 'cvat_server' or 'cvat', and no volume with the compose name 'cvat_data'"
    );
    assert!(hint.contains("--layout") && hint.contains("--only"));
    let (message, _) = refusal(&inventory(vec![db()], vec![]), &only(&["cvat_events"]));
    assert!(message.starts_with("cvat_events: there is no container 'cvat_elasticsearch'"));
}

#[test]
fn every_problem_is_surveyed() {
    let survey = survey(&cvat(), &Inventory::default(), &Selection::default()).unwrap();
    assert_eq!((survey.missing.len(), survey.problems.len()), (2, 0));
    let error = not_found(&survey.missing, CREATE_STACK).unwrap();
    assert_eq!(
        error.to_string(),
        "cvat_db: there is no container 'cvat_db', and no volume with the compose name 'cvat_db'; cvat_data: there is \
         no container 'cvat_server' or 'cvat', and no volume with the compose name 'cvat_data'"
    );
    assert!(error.advice().unwrap().contains("`docker compose up --no-start`"));
    assert!(survey.targets.is_empty());
}

#[test]
fn a_layout_of_optional_archives_must_find_one() {
    let text = "[[archive]]\nname = \"m\"\ncontainer = \"web\"\npath = \"/srv\"\noptional = true\n";
    let layout = Layout::parse("my.toml", text).unwrap();
    let error = resolve(&layout, &Inventory::default(), &Selection::default()).unwrap_err();
    assert_eq!(error.to_string(), "found no container and no volume of layout 'my.toml'");
}

#[test]
fn an_unknown_archive_is_a_usage_error_that_lists_the_known() {
    let error = survey(&cvat(), &Inventory::default(), &only(&["cvat_dat"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert_eq!(error.to_string(), "layout 'cvat' has no archive 'cvat_dat'");
    assert!(error.advice().unwrap().starts_with("it has: cvat_db, cvat_data, cvat_events"));
}

#[test]
fn users_are_all_containers_on_the_tree() {
    let worker = container("cvat_worker_import", &["cvat_cvat_data:/home/django/data"]);
    let host = inventory(vec![db(), media("cvat_server"), worker], vec![]);
    let resolution = resolve(&cvat(), &host, &Selection::default()).unwrap();
    let users: Vec<&str> = resolution.targets[1].users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(users, ["cvat_server", "cvat_worker_import"]);
}
