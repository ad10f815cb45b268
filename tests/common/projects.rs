//! Two compose projects of one compose file, on an engine with compose.

use std::fs;
use std::path::{Path, PathBuf};

use super::tool::Tool;

/// The compose file.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/docker-compose.projects.yml");

const ONE: &str = "voltar-e2e-one";
const TWO: &str = "voltar-e2e-two";
const OUTSIDE: &str = "voltar-e2e-outside";

const LAYOUT: &str = "
[[archive]]
name = 'media'
container = 'web'
volume = 'media'
path = '/srv/media'

[[archive]]
name = 'fixed'
container = 'web'
volume = 'voltar-e2e-fixed'
path = '/srv/fixed'

[[archive]]
name = 'outside'
container = 'web'
volume = 'voltar-e2e-outside'
path = '/srv/outside'
";

/// The way to an engine.
pub struct Host<'a> {
    /// A `docker` command.
    pub docker: &'a dyn Fn(&[&str]) -> Tool,
    /// A compose command on [`FILE`], for this project.
    pub compose: &'a dyn Fn(&str, &[&str]) -> Tool,
    /// A voltar command, run in `directory`.
    pub voltar: &'a dyn Fn(&[&str]) -> Tool,
    /// Where layouts and archives are.
    pub directory: &'a Path,
}

/// The projects. Dropping it removes them.
struct Projects<'a>(&'a Host<'a>);

impl<'a> Projects<'a> {
    fn up(host: &'a Host<'a>) -> Self {
        (host.docker)(&["volume", "create", OUTSIDE]).ok();
        let this = Self(host);
        for project in [ONE, TWO] {
            this.compose(project, &["up", "-d"]);
            this.put("/srv/media/file", project, project);
        }
        this.put("/srv/fixed/file", ONE, "fixed");
        this.put("/srv/outside/file", ONE, "outside");
        fs::write(this.at("projects.toml"), LAYOUT).unwrap();
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.directory.join(name)
    }

    fn compose(&self, project: &str, args: &[&str]) {
        (self.0.compose)(project, args).ok();
    }

    /// Returns a command on the layout.
    fn voltar(&self, args: &[&str]) -> Tool {
        (self.0.voltar)(&[args, &["--layout", "projects.toml"]].concat())
    }

    /// Returns the running containers of a project.
    fn running(&self, project: &str) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={project}");
        let listed = (self.0.docker)(&["ps", "--quiet", "--filter", &filter]).ok().answer();
        listed.lines().map(str::to_owned).collect()
    }

    fn put(&self, path: &str, project: &str, text: &str) {
        let line = format!("echo {text} >{path}");
        (self.0.docker)(&["exec", &self.running(project)[0], "bash", "-c", &line]).ok();
    }

    fn read(&self, path: &str, project: &str) -> String {
        (self.0.docker)(&["exec", &self.running(project)[0], "cat", path]).ok().answer()
    }

    /// Returns what `srv/NAME/file` of the archive `NAME.tar` holds.
    fn archived(&self, directory: &str, name: &str) -> String {
        let archive = self.at(directory).join(name).with_extension("tar");
        Tool::new("tar").arg("-xOf").arg(archive).arg(format!("srv/{name}/file")).ok().answer()
    }
}

impl Drop for Projects<'_> {
    fn drop(&mut self) {
        for project in [ONE, TWO] {
            (self.0.compose)(project, &["down", "-v"]).run();
        }
        (self.0.docker)(&["volume", "rm", OUTSIDE]).run();
    }
}

/// One is chosen of two that are up; the other one is not touched. Then that one is down, and is mentioned. Then both are
/// down, and volumes with fixed names and external ones are found by these.
pub fn are_told_apart(host: &Host<'_>) {
    let projects = Projects::up(host);
    let both = format!("choose with --project {ONE} or --project {TWO}");
    let media = ["--only", "media", "--stop", "--format", "tar"];
    let of_two = projects.running(TWO);
    for (command, code) in [(&["plan"][..], 1), (&["backup", "refused"], 2)] {
        projects.voltar(&[command, &media].concat()).run().expect_code(code).expect_text(&both);
    }
    let chosen = [&media[..], &["--project", ONE]].concat();
    projects.voltar(&[&["backup", "projects"], &chosen[..]].concat()).ok();
    assert_eq!(projects.archived("projects", "media"), ONE);
    projects.put("/srv/media/file", ONE, "live");
    let restore = ["restore", "projects", "--only", "media", "--stop"];
    projects.voltar(&restore).run().expect_code(2).expect_text(&both);
    projects.voltar(&[&restore[..], &["--project", ONE]].concat()).ok();
    assert_eq!([ONE, TWO].map(|project| projects.read("/srv/media/file", project)), [ONE, TWO]);
    assert_eq!(projects.running(TWO), of_two);

    projects.compose(TWO, &["down"]);
    let note = format!("project '{TWO}' is down and has volumes of this layout too: media");
    projects.voltar(&[&["backup", "projects", "--overwrite"], &media[..]].concat()).ok().expect_text(&note);
    assert_eq!(projects.archived("projects", "media"), ONE);

    projects.compose(ONE, &["down"]);
    projects.voltar(&["backup", "down", "--project", ONE, "--format", "tar"]).ok();
    assert_eq!(["media", "fixed", "outside"].map(|name| projects.archived("down", name)), [ONE, "fixed", "outside"]);
    projects.voltar(&["restore", "down", "--project", ONE]).ok();
}

/// Two containers of a service have the same volumes, and an anonymous one each.
pub fn replicas_share_their_files(host: &Host<'_>) {
    let projects = Projects::up(host);
    projects.compose(ONE, &["up", "-d", "--scale", "web=2"]);
    assert_eq!(projects.running(ONE).len(), 2);
    let backup = ["backup", "scaled", "--only", "media", "--project", ONE, "--format", "tar"];
    projects.voltar(&backup).run().expect_code(2).expect_text("--stop");
    projects.voltar(&[&backup[..], &["--stop"]].concat()).ok();
    assert_eq!(projects.archived("scaled", "media"), ONE);
    assert_eq!(projects.running(ONE).len(), 2, "both were started again");
    let own = "[[archive]]\nname = 'own'\ncontainer = 'web'\npath = '/srv/own'\n";
    fs::write(projects.at("own.toml"), own).unwrap();
    let refused = (host.voltar)(&["plan", "--layout", "own.toml", "--project", ONE]).run();
    refused.expect_code(1).expect_text("service 'web' has several containers that keep it in different directories");
}
