//! The one test binary: modules mirror `src/`, black-box over real sockets where there are any.
