{{- /* Which platform this is, as YAML. A text is the value of charts before 0.2, and means `kind`. */}}
{{- define "kagenti-operator.platform" -}}
{{- $platform := .Values.platform }}
{{- if kindIs "string" $platform }}
{{- $platform = dict "kind" $platform }}
{{- end }}
{{- $own := dict "name" "kagenti" "kind" "auto" "namespace" .Release.Namespace }}
{{- range $key, $value := $platform }}
{{- if $value }}
{{- $_ := set $own $key $value }}
{{- end }}
{{- end }}
{{- toYaml $own }}
{{- end }}

{{- /* What the platform's names begin with. */}}
{{- define "kagenti-operator.prefix" -}}
{{ (include "kagenti-operator.platform" . | fromYaml).name }}
{{- end }}

{{- /* Where collector, Phoenix and the platform's interface are. */}}
{{- define "kagenti-operator.platformNamespace" -}}
{{ (include "kagenti-operator.platform" . | fromYaml).namespace }}
{{- end }}

{{- define "kagenti-operator.fullname" -}}
{{ .Values.fullnameOverride | default (printf "%s-controller-manager" (include "kagenti-operator.prefix" .)) }}
{{- end }}

{{- define "kagenti-operator.serviceAccount" -}}
{{ .Values.controllerManager.serviceAccountName | default .Values.fullnameOverride | default "controller-manager" }}
{{- end }}

{{- define "kagenti-operator.lease" -}}
{{ (.Values.leaderElection).id | default .Values.fullnameOverride | default (printf "b7c4ae34.%s.dev" (include "kagenti-operator.prefix" .)) }}
{{- end }}

{{- /* A file about metrics, `list . "files/..."`, with the names of this release. */}}
{{- define "kagenti-operator.renamed" -}}
{{- $root := index . 0 }}
{{- $prefix := include "kagenti-operator.prefix" $root }}
{{- $runbooks := $root.Values.prometheus.runbooks | default "docs/runbooks.md" }}
{{- $root.Files.Get (index . 1) | replace "kagenti-controller-manager" (include "kagenti-operator.fullname" $root) | replace "b7c4ae34.kagenti.dev" (include "kagenti-operator.lease" $root) | replace "kagenti.io/" (printf "%s.io/" $prefix) | replace "docs/runbooks.md" $runbooks }}
{{- end }}

{{- /* The ClusterRole of those who may scrape. */}}
{{- define "kagenti-operator.metricsReader" -}}
{{ .Values.fullnameOverride | default (include "kagenti-operator.prefix" .) }}-metrics-reader
{{- end }}

{{- define "kagenti-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: controller-manager
{{- end }}

{{- define "kagenti-operator.labels" -}}
{{ include "kagenti-operator.selectorLabels" . }}
app.kubernetes.io/part-of: {{ include "kagenti-operator.prefix" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Those of `helm test`: the operator's selectors must not find its pod. */}}
{{- define "kagenti-operator.testLabels" -}}
{{ include "kagenti-operator.labels" . | replace "component: controller-manager" "component: test" }}
{{- end }}

{{- define "kagenti-operator.image" -}}
{{- with .Values.controllerManager.container.image -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- /* "true" on OpenShift, else empty. */}}
{{- define "kagenti-operator.openshift" -}}
{{- $kind := (include "kagenti-operator.platform" . | fromYaml).kind }}
{{- if eq $kind "openshift" -}}
true
{{- else if and (eq $kind "auto") (.Capabilities.APIVersions.Has "config.openshift.io/v1") -}}
true
{{- end }}
{{- end }}

{{- /* "true" where the operator keeps a link in OpenShift's console, else empty. */}}
{{- define "kagenti-operator.consoleLink" -}}
{{- if and (.Values.openshiftConsole).link .Values.mlflow.enable -}}
{{ include "kagenti-operator.openshift" . }}
{{- end }}
{{- end }}

{{- define "kagenti-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "kagenti-operator.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{- /* The ServiceAccount that MLflow is asked as. */}}
{{- define "kagenti-operator.mlflowClient" -}}
{{ .Values.fullnameOverride | default (include "kagenti-operator.prefix" .) }}-mlflow-client
{{- end }}

{{- /* Name of the Secret with the metrics' certificate, else empty. */}}
{{- define "kagenti-operator.metricsCertificate" -}}
{{- if and .Values.metrics.enable .Values.metrics.secure -}}
{{ .Values.metrics.certificateSecret | default "" }}
{{- end }}
{{- end }}

{{- define "kagenti-operator.platformArguments" -}}
- --platform-name={{ include "kagenti-operator.prefix" . }}
- --platform-namespace={{ include "kagenti-operator.platformNamespace" . }}
{{- end }}

{{- /* The Secret with the webhook's certificate, as the operator names it too. */}}
{{- define "kagenti-operator.webhookCertificate" -}}
{{ .Values.fullnameOverride | default (printf "%s-operator" (include "kagenti-operator.prefix" .)) }}-webhook-server-cert
{{- end }}

{{- /* Name of that Secret where somebody else fills it and the pod mounts it, else empty. */}}
{{- define "kagenti-operator.mountedWebhookCertificate" -}}
{{- if and (.Values.authbridge).enable (ne (.Values.authbridge.certificate | default "own") "own") -}}
{{ include "kagenti-operator.webhookCertificate" . }}
{{- end }}
{{- end }}

{{- /* The port of Keycloak as the operator reaches it: the platform's Service unless keycloak.url says another. */}}
{{- define "kagenti-operator.keycloakPort" -}}
{{- $url := urlParse ((.Values.keycloak).url | default "http://keycloak-service:8080") -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end }}

{{/* What is known of Keycloak, as arguments. */}}
{{- define "kagenti-operator.keycloakArguments" -}}
{{- $keycloak := .Values.keycloak | default dict -}}
- --keycloak-namespace={{ $keycloak.namespace | default "keycloak" }}
{{- if ((.Values.authbridge).clientRegistration).enable }}
- --enable-client-registration
{{- end }}
{{- with $keycloak.url }}
- {{ printf "--keycloak-url=%s" . | quote }}
{{- end }}
{{- with $keycloak.publicURL }}
- {{ printf "--keycloak-public-url=%s" . | quote }}
{{- end }}
{{- with $keycloak.realm }}
- {{ printf "--keycloak-realm=%s" . | quote }}
{{- end }}
{{- range $keycloak.furtherRealms }}
- {{ printf "--keycloak-further-realm=%s" . | quote }}
{{- end }}
{{- with $keycloak.caFile }}
- {{ printf "--keycloak-ca-file=%s" . | quote }}
{{- end }}
{{- end }}

{{- /* The SecurityContextConstraints that pods with a sidecar may use, on OpenShift; empty: none. */}}
{{- define "kagenti-operator.authbridgeConstraints" -}}
{{- $scc := (.Values.authbridge).scc | default dict }}
{{- if and (.Values.authbridge).enable (include "kagenti-operator.openshift" .) -}}
{{ $scc.name | default (ternary (printf "%s-authbridge" (include "kagenti-operator.prefix" .)) "" (eq $scc.create true)) }}
{{- end }}
{{- end }}
