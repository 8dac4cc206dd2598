//! The measured programs, and how each is built and started.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The functions, by the names of their packages and binaries.
pub const FUNCTIONS: [&str; 11] = [
    "create",
    "update",
    "delete",
    "erase",
    "read",
    "analytics",
    "vote",
    "console",
    "aggregate",
    "publish",
    "langfuse",
];

/// A program that speaks the Lambda Runtime API.
#[derive(Clone, Debug)]
pub struct Program {
    /// The name in the tables.
    pub name: String,
    /// The executable.
    pub executable: PathBuf,
    /// The arguments.
    pub arguments: Vec<String>,
    /// Environment variables, besides those that Lambda sets.
    pub environment: Vec<(&'static str, OsString)>,
    /// The working directory.
    pub folder: PathBuf,
    /// The deployment package: a binary, or directories with a program and its dependencies.
    pub package: Vec<PathBuf>,
}

impl Program {
    /// A program that consists of one binary.
    pub fn binary(name: &str, path: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            package: vec![path.clone()],
            executable: path,
        }
    }

    /// The command that starts the program, with no other environment variables.
    pub fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.executable);
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Returns the size of the package in bytes, unpacked and as a zip file.
    ///
    /// # Errors
    ///
    /// If the package cannot be read.
    pub fn size(&self) -> io::Result<(u64, u64)> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut bytes = 0;
        for root in &self.package {
            let above = root.parent().unwrap_or(root);
            let mut paths = vec![root.clone()];
            while let Some(path) = paths.pop() {
                if path.is_dir() {
                    for entry in fs::read_dir(&path)? {
                        paths.push(entry?.path());
                    }
                } else {
                    let content = fs::read(&path)?;
                    let name = path.strip_prefix(above).unwrap_or(&path);
                    zip.start_file(name.to_string_lossy(), SimpleFileOptions::default())?;
                    zip.write_all(&content)?;
                    bytes += content.len() as u64;
                }
            }
        }
        Ok((bytes, zip.finish()?.into_inner().len() as u64))
    }
}

/// The root directory of the workspace.
pub fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}

/// The build directory, inside this workspace's target directory.
fn target() -> PathBuf {
    workspace().join("target")
}

/// Builds the functions as they are deployed: in the release profile, and without this package or `local`,
/// whose features cargo would otherwise enable for them.
///
/// # Errors
///
/// If the build fails.
pub fn functions() -> io::Result<Vec<Program>> {
    let mut build = release_build(&workspace());
    build.args(FUNCTIONS.iter().flat_map(|name| ["--package", name]));
    run(build.arg("--target-dir").arg(target()))?;
    Ok(FUNCTIONS
        .iter()
        .map(|name| Program::binary(name, target().join("release").join(name)))
        .collect())
}

/// Builds the local server in the release profile, and returns its path.
///
/// # Errors
///
/// If the build fails.
pub fn local_server() -> io::Result<PathBuf> {
    let mut build = release_build(&workspace());
    run(build.args(["--package", "local", "--target-dir"]).arg(target()))?;
    Ok(target().join("release/hindsight"))
}

/// Builds the baselines in `bench/baselines/`. For one that cannot be built here, returns the reason.
pub fn baselines() -> Vec<Result<Program, String>> {
    let folder = workspace().join("bench/baselines");
    let missing = |name: &str| {
        let name = name.to_owned();
        move |error: io::Error| format!("{name}: skipped, {error}")
    };
    vec![
        rust(&folder.join("tutorial"), "tutorial").map_err(missing("tutorial")),
        python(&folder.join("python")).map_err(missing("python")),
        node(&folder.join("node")).map_err(missing("node")),
        rust(&folder.join("floor"), "floor").map_err(missing("floor")),
    ]
}

fn rust(folder: &Path, name: &str) -> io::Result<Program> {
    let target = target().join("baselines");
    run(release_build(folder).arg("--target-dir").arg(&target))?;
    Ok(Program::binary(name, target.join("release").join(name)))
}

fn python(folder: &Path) -> io::Result<Program> {
    let packages = target().join("baselines/python");
    run(Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--upgrade", "--target"])
        .arg(&packages)
        .arg("--requirement")
        .arg(folder.join("requirements.txt")))?;
    let executable = output(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]))?;
    let sources = ["feedback.py", "handler.py", "keys.py"].map(|name| folder.join(name));
    Ok(Program {
        name: "Python".to_owned(),
        executable: executable.into(),
        arguments: ["-m", "awslambdaric", "handler.handler"]
            .map(str::to_owned)
            .to_vec(),
        environment: vec![("PYTHONPATH", packages.clone().into_os_string())],
        folder: folder.to_path_buf(),
        package: sources.into_iter().chain([packages]).collect(),
    })
}

fn node(folder: &Path) -> io::Result<Program> {
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
        .current_dir(folder))?;
    let executable = output(Command::new("node").args(["--print", "process.execPath"]))?;
    let sources = [
        "feedback.js",
        "handler.js",
        "keys.js",
        "node_modules",
        "package.json",
        "runtime.js",
    ];
    Ok(Program {
        name: "Node.js".to_owned(),
        executable: executable.into(),
        arguments: vec!["runtime.js".to_owned()],
        environment: Vec::new(),
        folder: folder.to_path_buf(),
        package: sources.map(|name| folder.join(name)).to_vec(),
    })
}

fn release_build(folder: &Path) -> Command {
    let mut command = cargo(folder);
    command.args(["build", "--release", "--locked", "--quiet"]);
    command
}

/// A cargo command in a folder, without the variables that an outer cargo set for the package of this process. Build
/// scripts that read them, such as ring's, would run again, and everything that depends on them would be recompiled.
pub fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(folder);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
    command
}

fn run(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| io::Error::other(format!("{program} cannot be run: {error}")))?;
    if !status.success() {
        return Err(io::Error::other(format!("{program} ended with {status}")));
    }
    Ok(())
}

fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
