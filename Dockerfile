# The images of Tachometer, one target each: docker build --target sample -t sample:dev .
# BUILDER is any image with Go 1.26, a shell and CA certificates; VERSION is stamped into the program. TARGETARCH is the image's
# architecture, which docker buildx sets; empty: the builder's.
ARG BUILDER=golang:1.26-alpine

# What all programs are built from.
FROM ${BUILDER} AS source
WORKDIR /src
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
COPY go.mod go.sum ./
COPY cmd cmd
COPY pkg pkg

# A copy of go.mod in which pkg/adapter/conntrack replaces a module that costs the adapter 20 MB: its package comment has the reason.
RUN cp go.mod /adapter.mod && cp go.sum /adapter.sum && \
    go mod edit -replace=github.com/mwitkow/go-conntrack=./pkg/adapter/conntrack /adapter.mod

# No layer of `go mod download`: it fetches the modules of the whole graph, ten times what these programs are built
# from. The build fetches what it needs, and the cache mounts keep that, and what was compiled, for the next build.
FROM source AS build-sample
ARG VERSION=dev
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X github.com/tachometer-metrics/tachometer/pkg/version.stamped=${VERSION}" -o /out/sample ./cmd/sample

FROM source AS build-tachometer-adapter
ARG VERSION=dev
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOARCH=${TARGETARCH} go build -modfile=/adapter.mod -tags=grpcnotrace -trimpath -ldflags "-s -w -X github.com/tachometer-metrics/tachometer/pkg/version.stamped=${VERSION}" -o /out/tachometer-adapter ./cmd/tachometer-adapter

FROM source AS build-tachometer-scaler
ARG VERSION=dev
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X github.com/tachometer-metrics/tachometer/pkg/version.stamped=${VERSION}" -o /out/tachometer-scaler ./cmd/tachometer-scaler

# Nothing but the program and the CA certificates: no shell, no package manager, no root. The user is a number, so that
# Kubernetes can check runAsNonRoot without a passwd file.
FROM scratch AS sample
ARG VERSION=dev
LABEL org.opencontainers.image.title="sample" \
      org.opencontainers.image.description="A sample Go service for a HorizontalPodAutoscaler" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="https://github.com/tachometer-metrics/tachometer" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-sample /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-sample /out/sample /sample
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/sample"]

FROM scratch AS tachometer-adapter
ARG VERSION=dev
LABEL org.opencontainers.image.title="tachometer-adapter" \
      org.opencontainers.image.description="Custom and external metrics for the HorizontalPodAutoscaler, scraped without a Prometheus" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="https://github.com/tachometer-metrics/tachometer" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-tachometer-adapter /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-tachometer-adapter /out/tachometer-adapter /tachometer-adapter
USER 65532:65532
EXPOSE 6443
ENTRYPOINT ["/tachometer-adapter"]

FROM scratch AS tachometer-scaler
ARG VERSION=dev
LABEL org.opencontainers.image.title="tachometer-scaler" \
      org.opencontainers.image.description="Raises workloads ahead of the load, by schedule, event or command, beside the HorizontalPodAutoscaler" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.source="https://github.com/tachometer-metrics/tachometer" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-tachometer-scaler /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build-tachometer-scaler /out/tachometer-scaler /tachometer-scaler
USER 65532:65532
EXPOSE 8080 8443
ENTRYPOINT ["/tachometer-scaler"]
