# difygate from its source to an image of one static binary, for amd64 and arm64:
#   docker compose up -d        or   docker build -t difygate .
# It takes BuildKit, which Docker and Compose have. Where the network is slow or closed, name mirrors:
#   --build-arg APT_MIRROR=http://mirror.example/debian
#   --build-arg RUSTUP_DIST_SERVER=https://mirror.example/rustup
#   --build-arg CRATES_MIRROR=sparse+https://mirror.example/crates/
ARG BASE_IMAGE=debian:13
# An image of what Cargo has built before, to begin with: see the stage of that name.
ARG CARGO_CACHE=scratch
FROM ${CARGO_CACHE} AS cache

FROM ${BASE_IMAGE} AS build
ARG APT_MIRROR=
RUN if [ -n "$APT_MIRROR" ]; then \
      sed -i "s#^URIs: .*/debian\(-security\)\?/*\$#URIs: $APT_MIRROR\1#" /etc/apt/sources.list.d/debian.sources; \
    fi \
 && apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev make python3 rustup \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The compiler of rust-toolchain.toml, without what only its developers need.
COPY rust-toolchain.toml ./
ARG RUSTUP_DIST_SERVER
RUN rustup toolchain install --profile minimal "$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)" \
 && ln -s /root/.rustup/toolchains/* /opt/rust
ENV PATH=/opt/rust/bin:$PATH
ARG CRATES_MIRROR=
RUN if [ -n "$CRATES_MIRROR" ]; then \
      mkdir -p /root/.cargo; \
      printf '[source.crates-io]\nreplace-with = "mirror"\n[source.mirror]\nregistry = "%s"\n' "$CRATES_MIRROR" \
        >/root/.cargo/config.toml; \
    fi
COPY . .
# `ci` is built in a fraction of the time, and slower at work.
ARG BUILD_PROFILE=release
# What Cargo has fetched and built stays for the next build.
RUN --mount=type=cache,target=/root/.cargo/registry \
    --mount=type=cache,target=/src/target,from=cache,source=/ \
    make image-context STATIC_PROFILE="$BUILD_PROFILE" && cp -a target/image /image

# What Cargo has built, for CARGO_CACHE of a later build with the same mirrors: `--target cargo-cache`.
FROM build AS built
RUN --mount=type=cache,target=/src/target,from=cache,source=/ cp -a target /cargo-cache

FROM scratch AS cargo-cache
COPY --from=built /cargo-cache /

# The rest as in deploy/Dockerfile, which takes a binary that is built already.
FROM scratch
COPY --from=build /image/difygate /usr/local/bin/difygate
# Whose work is in it, and under which licences.
COPY --from=build /image/licenses.txt /usr/share/doc/difygate/licenses.txt
# Request bodies that are too large for memory are spooled here.
COPY --from=build --chown=65532:65532 /image/tmp /tmp
# What survives a restart. Mount a volume here: a new one takes over the owner.
COPY --from=build --chown=65532:65532 /image/state /var/lib/difygate
# In a container the loopback is nobody's: a file without `listen`, and OpenDify's variables without SERVER_HOST,
# are served to the container's networks. The admin listener stays on the loopback.
ENV STATE_DIRECTORY=/var/lib/difygate DIFYGATE_LISTEN=0.0.0.0:8080 SERVER_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["/usr/local/bin/difygate", "health"]
ENTRYPOINT ["/usr/local/bin/difygate"]
CMD ["serve", "--config", "/etc/difygate/difygate.yaml"]
