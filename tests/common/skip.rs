//! What a test needs of the machine, and what happens where the machine has not got it: the test is
//! named as skipped and counted as ignored. With `VOLTAR_REQUIRE_DOCKER=1`, as in CI, it fails.

use libtest_mimic::{Arguments, Failed, Trial};

use super::{engine, is_root, tool};

/// What a test cannot do without.
#[derive(Clone, Copy)]
pub enum Needs {
    /// Owners, devices, mounts.
    Root,
    /// A Docker engine on this machine, and a way to run compose files.
    Engine,
    /// No containers with CVAT's fixed names but the tests' own: they would be stopped and written to.
    NoCvat,
    /// A program on the search path.
    Program(&'static str),
    /// GNU's tar, which has `--sort`.
    GnuTar,
    /// The binaries of a PostgreSQL server, which go into an image.
    PostgreSql,
    /// Leave to make device nodes, which root in a container may not have.
    Devices,
}

impl Needs {
    /// Why this machine does not do; `None` where it does.
    fn missing(self) -> Option<String> {
        let (there, text) = match self {
            Self::Root => (is_root(), "needs root".to_owned()),
            Self::Engine => (engine::answers(), "no Docker engine here".to_owned()),
            Self::NoCvat => {
                let foreign = engine::foreign_cvat();
                let name = foreign.as_deref().unwrap_or_default();
                (
                    foreign.is_none(),
                    format!("this host has a container {name} that is not the tests', and is left alone"),
                )
            }
            Self::Program(program) => (tool::installed(program), format!("no {program} here")),
            Self::GnuTar => (
                tool::installed("tar") && tool::Tool::new("tar").arg("--version").run().text().contains("GNU tar"),
                "no GNU tar here".to_owned(),
            ),
            Self::PostgreSql => (
                std::path::Path::new("/usr/lib/postgresql/15/bin/postgres").is_file()
                    || std::env::var_os("VOLTAR_TEST_POSTGRES").is_some(),
                "no PostgreSQL 15 server here".to_owned(),
            ),
            Self::Devices => (super::tree::can_make_devices(), "may not make device nodes here".to_owned()),
        };
        (!there).then_some(text)
    }
}

/// Whether what is missing is a failure.
fn required() -> bool {
    std::env::var_os("VOLTAR_REQUIRE_DOCKER").is_some_and(|value| value == "1")
}

/// A test that needs something of the machine. `body` fails by panicking.
pub fn test(name: &str, needs: &[Needs], body: impl FnOnce() + Send + 'static) -> Trial {
    let missing = needs.iter().find_map(|need| need.missing());
    match missing {
        None => Trial::test(name, || {
            body();
            Ok(())
        }),
        Some(why) if required() => {
            Trial::test(name, move || Err(Failed::from(format!("{why}, and VOLTAR_REQUIRE_DOCKER=1"))))
        }
        Some(why) => {
            // Nothing listens to this where tests are only listed.
            eprintln!("skipped: {name}: {why}");
            Trial::test(name, move || Err(Failed::from(why))).with_ignored_flag(true)
        }
    }
}

/// A test that needs one of the tools people have. `VOLTAR_REQUIRE_TOOLS=1` makes a missing one a failure.
pub fn with_tool(
    tool: &str,
    name: impl Into<String>,
    body: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    if tool::installed(tool) {
        return Trial::test(name, body);
    }
    let (name, why) = (name.into(), format!("no {tool} here"));
    eprintln!("skipped: {name}: {why}");
    let required = std::env::var_os("VOLTAR_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    Trial::test(name, move || Err(Failed::from(why))).with_ignored_flag(!required)
}

/// Runs the tests, then `after`, and ends the process with their verdict.
pub fn run(args: &Arguments, tests: Vec<Trial>, after: impl FnOnce()) -> ! {
    let conclusion = libtest_mimic::run(args, tests);
    after();
    conclusion.exit()
}
