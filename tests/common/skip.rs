//! The requirements of tests. On a machine that does not meet them, a test is named as skipped and counted as
//! ignored. With `VOLTAR_REQUIRE_DOCKER=1`, as in CI, it fails.

use libtest_mimic::{Arguments, Failed, Trial};

use super::{engine, is_root, tool};

/// A requirement of a test.
#[derive(Clone, Copy)]
pub enum Needs {
    /// Root privileges, for owners, devices and mounts.
    Root,
    /// A Docker engine on this machine that can run compose files.
    Engine,
    /// No containers with CVAT's fixed names except those of the tests, which stop them and write to them.
    NoCvat,
    /// A program on the search path.
    Program(&'static str),
    /// GNU tar, which has `--sort`.
    GnuTar,
    /// The programs of a PostgreSQL server, which go into an image.
    PostgreSql,
    /// The permission to create device nodes, which root in a container may lack.
    Devices,
    /// Something that this function prepares; its error says why that is impossible.
    Prepared(fn() -> Result<(), String>),
}

impl Needs {
    /// Returns why this machine does not meet the requirement; `None` if it does.
    fn missing(self) -> Option<String> {
        let (there, text) = match self {
            Self::Root => (is_root(), "needs root".to_owned()),
            Self::Engine => (engine::answers(), "no Docker engine on this machine".to_owned()),
            Self::NoCvat => {
                let foreign = engine::foreign_cvat();
                let name = foreign.as_deref().unwrap_or_default();
                (foreign.is_none(), format!("the container {name} of this host is not from these tests"))
            }
            Self::Program(program) => (tool::installed(program), format!("{program} is not installed")),
            Self::GnuTar => (
                tool::installed("tar") && tool::Tool::new("tar").arg("--version").run().text().contains("GNU tar"),
                "GNU tar is not installed".to_owned(),
            ),
            Self::PostgreSql => (
                std::path::Path::new("/usr/lib/postgresql/15/bin/postgres").is_file()
                    || std::env::var_os("VOLTAR_TEST_POSTGRES").is_some(),
                "PostgreSQL 15 is not installed".to_owned(),
            ),
            Self::Prepared(prepare) => match prepare() {
                Ok(()) => (true, String::new()),
                Err(why) => (false, why),
            },
            Self::Devices => (super::tree::can_make_devices(), "cannot create device nodes".to_owned()),
        };
        (!there).then_some(text)
    }
}

/// Returns whether a missing requirement is a failure.
fn required() -> bool {
    std::env::var_os("VOLTAR_REQUIRE_DOCKER").is_some_and(|value| value == "1")
}

/// Returns a test with requirements. `body` fails by panicking.
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
            // Also printed when the tests are only listed, which does no harm.
            eprintln!("skipped: {name}: {why}");
            Trial::test(name, move || Err(Failed::from(why))).with_ignored_flag(true)
        }
    }
}

/// Returns a test that needs another program. With `VOLTAR_REQUIRE_TOOLS=1` it fails where the program is
/// missing.
pub fn with_tool(
    tool: &str,
    name: impl Into<String>,
    body: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    if tool::installed(tool) {
        return Trial::test(name, body);
    }
    let (name, why) = (name.into(), format!("{tool} is not installed"));
    eprintln!("skipped: {name}: {why}");
    let required = std::env::var_os("VOLTAR_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    Trial::test(name, move || Err(Failed::from(why))).with_ignored_flag(!required)
}

/// Runs the tests, then `after`, and exits with the status of the tests.
pub fn run(args: &Arguments, tests: Vec<Trial>, after: impl FnOnce()) -> ! {
    let conclusion = libtest_mimic::run(args, tests);
    after();
    conclusion.exit()
}
