//! A newcomer's walk on another stack than CVAT, with the commands as the README prints them: its layout, a backup, a
//! host without its volumes, and a restore that creates them.

use std::fs;

use crate::common::engine::docker;
use crate::common::tool::{Outcome, Tool, installed};
use crate::stack::{Stack, Test, names};

/// See the functions.
pub const TESTS: &[Test] = &[
    ("newcomer_walks_through_the_readme", newcomer_walks_through_the_readme),
    ("volumes_of_a_failed_restore_are_removed_again", volumes_of_a_failed_restore_are_removed_again),
    ("a_volume_is_named_on_the_command_line", a_volume_is_named_on_the_command_line),
];

/// Two services with a volume each, as in many stacks; what they run is a stand-in.
const COMPOSE: &str = r#"version: "3.3"
services:
  db:
    image: ubuntu
    network_mode: none
    restart: always
    command: &wait ["bash", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $$!; done"]
    volumes: ["db_data:/var/lib/mysql"]
  wordpress:
    image: ubuntu
    network_mode: none
    restart: always
    depends_on: [db]
    command: *wait
    volumes: ["html:/var/www/html", "/var/run/docker.sock:/var/run/docker.sock", "./php.ini:/etc/php.ini:ro"]
volumes:
  db_data:
  html:
"#;

/// A directory with the compose file, in the working directory of the stack. Dropping it removes the project.
struct WordPress<'a>(&'a Stack);

impl<'a> WordPress<'a> {
    fn up(stack: &'a Stack) -> Self {
        fs::write(stack.at("docker-compose.yml"), COMPOSE).unwrap();
        fs::write(stack.at("php.ini"), "upload_max_filesize = 1G\n").unwrap();
        let this = Self(stack);
        this.compose(&["up", "-d"]);
        for line in [
            "docker exec voltar-e2e-wp_db_1 bash -c 'mkdir /var/lib/mysql/wp; echo post > /var/lib/mysql/wp/posts.ibd; \
             chown -R 70:70 /var/lib/mysql'",
            "docker exec voltar-e2e-wp_wordpress_1 bash -c 'echo \"<?php\" > /var/www/html/index.php; \
             chown -R 33:33 /var/www/html'",
        ] {
            Tool::shell(line).ok();
        }
        this
    }

    fn compose(&self, args: &[&str]) -> Outcome {
        self.compose_command(args).ok()
    }

    fn compose_command(&self, args: &[&str]) -> Tool {
        let command =
            if installed("docker-compose") { Tool::new("docker-compose") } else { Tool::new("docker").arg("compose") };
        // The containers have the same names with either version.
        command.env("COMPOSE_COMPATIBILITY", "true").dir(self.0.work()).args(["-p", "voltar-e2e-wp"]).args(args)
    }

    /// Runs `voltar layout > wp.toml`.
    fn layout(&self) {
        let outcome = self.0.voltar(&["layout", "--project", "voltar-e2e-wp"]).ok();
        fs::write(self.0.at("wp.toml"), &outcome.stdout).unwrap();
    }
}

impl Drop for WordPress<'_> {
    fn drop(&mut self) {
        self.compose_command(&["down", "-v"]).run();
    }
}

/// Returns owners, modes and content of what was written.
fn content() -> String {
    let look = "stat -c '%n %u:%g %a' /var/lib/mysql/wp /var/lib/mysql/wp/posts.ibd; cat /var/lib/mysql/wp/posts.ibd";
    let db = docker(["exec", "voltar-e2e-wp_db_1", "bash", "-c", look]);
    let look = "stat -c '%n %u:%g %a' /var/www/html /var/www/html/index.php; cat /var/www/html/index.php";
    db + &docker(["exec", "voltar-e2e-wp_wordpress_1", "bash", "-c", look])
}

/// Returns the names of the project's volumes.
fn volumes() -> String {
    docker(["volume", "ls", "--quiet", "--filter", "label=com.docker.compose.project=voltar-e2e-wp"])
}

fn newcomer_walks_through_the_readme(stack: &Stack) {
    let wordpress = WordPress::up(stack);
    let before = content();
    // The tests' CVAT is another project with volumes.
    let several = stack.voltar(&["layout"]).run().expect_code(2);
    several.expect_text("several compose projects have volumes").expect_text("voltar-e2e-wp");
    wordpress.layout();
    let layout = fs::read_to_string(stack.at("wp.toml")).unwrap();
    assert!(layout.contains("#   /var/run/docker.sock of voltar-e2e-wp_wordpress_1: a socket\n"), "{layout}");
    stack.voltar(&["backup", "--layout", "wp.toml", "--stop"]).ok();
    assert_eq!(names(&stack.at("backup")), ["db_data.tar.bz2", "html.tar.bz2"]);
    wordpress.compose(&["down", "-v"]);
    assert_eq!(volumes(), "");

    let refused = stack.voltar(&["restore", "--layout", "wp.toml"]).run().expect_code(2);
    let refused = refused.expect_text("db_data: there is no container").expect_text("html: there is no container");
    refused.expect_text("`docker compose up --no-start`").expect_text("--create-volumes");
    stack
        .voltar(&["restore", "--layout", "wp.toml", "--create-volumes", "-n"])
        .ok()
        .expect_text("which is created first");
    assert_eq!(volumes(), "", "a plan creates nothing");
    stack.voltar(&["restore", "--layout", "wp.toml", "--create-volumes"]).ok();
    let up = wordpress.compose(&["up", "-d"]);
    let warned = ["WARN", "already exists", "Creating volume"].into_iter().find(|text| up.text().contains(text));
    assert_eq!(warned, None, "{up}");
    assert_eq!(volumes(), "voltar-e2e-wp_db_data\nvoltar-e2e-wp_html");
    assert_eq!(content(), before);
}

/// The archives begin as they should, so that the restore fails when the volumes exist.
fn volumes_of_a_failed_restore_are_removed_again(stack: &Stack) {
    let wordpress = WordPress::up(stack);
    wordpress.layout();
    stack.voltar(&["backup", "--layout", "wp.toml", "--stop", "--format", "tar"]).ok();
    wordpress.compose(&["down", "-v"]);
    let archive = stack.at("backup/html.tar");
    let content = fs::read(&archive).unwrap();
    fs::write(&archive, &content[..1024]).unwrap();
    let create = ["restore", "--layout", "wp.toml", "--create-volumes"];
    let failed = stack.voltar(&create).run().expect_code(2);
    failed.expect_text("created volume 'voltar-e2e-wp_html'").expect_text("removed volume 'voltar-e2e-wp_html' again");
    assert_eq!(volumes(), "");
    // One that exists is not touched.
    docker(["volume", "create", "voltar-e2e-wp_html"]);
    let refused = stack.voltar(&create).run().expect_code(2);
    refused.expect_text("the volume 'voltar-e2e-wp_html' exists, but its labels are not those of compose");
    stack.voltar(&create).args(["--volume", "html=voltar-e2e-wp_html"]).run().expect_code(2).expect_text("cut off");
    assert_eq!(docker(["volume", "ls", "--quiet", "--filter", "name=voltar-e2e-wp_html"]), "voltar-e2e-wp_html");
    docker(["volume", "rm", "voltar-e2e-wp_html"]);
}

fn a_volume_is_named_on_the_command_line(stack: &Stack) {
    let volume = "voltar-e2e_elsewhere";
    docker(["volume", "create", volume]);
    stack.voltar(&["backup", "--only", "cvat_data"]).run();
    let option = format!("cvat_data={volume}");
    stack.voltar(&["restore", "--volume", &option]).ok();
    let found = crate::common::snapshot::TreeSnapshot::of(&crate::stack::mountpoint(volume));
    stack.snapshot("cvat_data").carried_by_tar().assert_same(&found, "the volume that was named");
    let unknown = stack.voltar(&["backup", "elsewhere", "--volume", "cvat_data=no_such"]).run().expect_code(2);
    unknown.expect_text("cvat_data: there is no volume 'no_such'");
    docker(["volume", "rm", volume]);
}
