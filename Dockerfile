# Builds the binary and leaves everything else behind.
FROM rust:1.95-slim-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin runstream

# The binary needs the C library only.
FROM debian:trixie-slim
RUN useradd --system --uid 10001 --no-create-home runstream && install -d -o runstream -g runstream -m 700 /data
COPY --from=build /src/target/release/runstream /usr/local/bin/runstream
USER runstream
# In a container nothing is reached from outside through the loopback address.
ENV RUNSTREAM_SERVER_ADDRESS=0.0.0.0 RUNSTREAM_DATA_FOLDER=/data
VOLUME ["/data"]
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["runstream", "health"]
ENTRYPOINT ["runstream"]
CMD ["serve"]
