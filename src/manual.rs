//! Shell completions and man pages, generated from the definition of the command line.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use voltar::error::{Error, Result};

use crate::cli::Cli;

/// Returns the completion script of `shell`.
pub(crate) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "voltar", &mut script);
    // Not lossy: the help is UTF-8.
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes `voltar.1`, and a page for each subcommand (`voltar-backup.1`), into `directory`.
pub(crate) fn write_pages(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| Error::failed_at("cannot create", directory, error))?;
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands().chain([&root]) {
        let (name, text) = page(command.clone());
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| Error::failed_at("cannot write", &path, error))?;
    }
    Ok(())
}

/// Returns the file name of a command's page, and its text.
fn page(command: clap::Command) -> (String, Vec<u8>) {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_subcommands = command.has_subcommands();
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    // `Man::render_title` would omit the empty date. Text with a ragged margin, and words in one piece: most are options.
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(".TH {title} 1 \"\" \"voltar {version}\" \"User Commands\"\n.nh\n.ad l\n").into_bytes();
    // Writing to a Vec cannot fail.
    write(&Man::new(command), &after, has_subcommands, &mut text).unwrap_or_default();
    (format!("{title}.1"), text)
}

/// Writes the sections of a page. [`Man::render`] would fill all that follows the options into one paragraph.
fn write(man: &Man, after: &str, has_subcommands: bool, text: &mut Vec<u8>) -> std::io::Result<()> {
    man.render_name_section(text)?;
    man.render_synopsis_section(text)?;
    man.render_description_section(text)?;
    if has_subcommands {
        man.render_subcommands_section(text)?;
    }
    man.render_options_section(text)?;
    let mut roff = Roff::new();
    sections(after, &mut roff);
    roff.control("SH", ["SEE ALSO"]);
    if has_subcommands {
        roff.text([bold("docker"), roman("(1), "), bold("tar"), roman("(1)")]);
    } else {
        roff.text([bold("voltar"), roman("(1)")]);
    }
    roff.to_writer(text)
}

/// Renders the sections below the options of a help text: a heading, and entries that are indented by two columns. Two spaces
/// or more divide an entry from its explanation, which may continue on lines with a greater indentation.
fn sections(after: &str, roff: &mut Roff) {
    for section in after.split("\n\n") {
        let mut lines = section.lines().peekable();
        roff.control("SH", lines.next());
        while let Some(line) = lines.next() {
            let (entry, explanation) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
            let mut explanation = explanation.trim().to_owned();
            while let Some(more) = lines.next_if(|next| next.starts_with("   ")) {
                explanation.push(' ');
                explanation.push_str(more.trim());
            }
            roff.control(if explanation.is_empty() { "PP" } else { "TP" }, []);
            roff.text([bold(entry)]);
            if !explanation.is_empty() {
                roff.text([roman(explanation)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_a_help_become_tagged_paragraphs() {
        let mut roff = Roff::new();
        sections(
            "EXAMPLES\n  voltar a\n  voltar b -c  what it\n       does\n\nEXIT STATUS\n  130  a signal",
            &mut roff,
        );
        assert_eq!(
            roff.render().lines().skip_while(|line| !line.starts_with(".SH")).collect::<Vec<_>>(),
            [
                ".SH EXAMPLES",
                ".PP",
                "\\fBvoltar a\\fR",
                ".TP",
                "\\fBvoltar b \\-c\\fR",
                "what it does",
                ".SH \"EXIT STATUS\"",
                ".TP",
                "\\fB130\\fR",
                "a signal",
            ]
        );
    }
}
