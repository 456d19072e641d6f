//! The program `zbundle`.

use std::process::ExitCode;

fn main() -> ExitCode {
    zbundle::cli::main()
}
