# One image for each service: docker build --target gateway|accounts|social .
# A stage is named after the service, so that the manifests, this file and the
# folders under services/ say the same word.

# The image that has Go, a shell and the certificates; a mirror's, for example.
ARG GO_IMAGE=golang:1.26-alpine

FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY internal ./internal
COPY services ./services
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=unknown
# Static, since the final stage has no C library; the paths of the build machine
# stay out of the programs.
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X pymessage/internal/service.Version=$VERSION -X pymessage/internal/service.Commit=$COMMIT" \
      -o /out/ \
      ./services/gateway/cmd/gateway \
      ./services/accounts/cmd/accounts \
      ./services/social/cmd/social

# Nothing but the program and the certificates of the public authorities, which
# managed stores with TLS need. No shell, no package manager, no root.
FROM scratch AS runtime
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A number, since Kubernetes cannot tell whether a name is root.
USER 65532:65532
# The ops port: /livez, /readyz, /metrics.
EXPOSE 9090

FROM runtime AS gateway
COPY --from=build /out/gateway /gateway
EXPOSE 6969
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["/gateway", "ready"]
ENTRYPOINT ["/gateway"]

FROM runtime AS accounts
COPY --from=build /out/accounts /accounts
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["/accounts", "ready"]
ENTRYPOINT ["/accounts"]

FROM runtime AS social
COPY --from=build /out/social /social
EXPOSE 8080 8081
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["/social", "ready"]
ENTRYPOINT ["/social"]
