{{- define "kagenti-operator.fullname" -}}
kagenti-controller-manager
{{- end }}

{{- define "kagenti-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: controller-manager
{{- end }}

{{- define "kagenti-operator.labels" -}}
{{ include "kagenti-operator.selectorLabels" . }}
app.kubernetes.io/part-of: kagenti
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Those of `helm test`: the operator's selectors must not find its pod. */}}
{{- define "kagenti-operator.testLabels" -}}
{{ include "kagenti-operator.labels" . | replace "component: controller-manager" "component: test" }}
{{- end }}

{{- define "kagenti-operator.image" -}}
{{- with .Values.controllerManager.container.image -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* "true" on OpenShift, else empty. */}}
{{- define "kagenti-operator.openshift" -}}
{{- if eq .Values.platform "openshift" -}}
true
{{- else if and (eq .Values.platform "auto") (.Capabilities.APIVersions.Has "config.openshift.io/v1") -}}
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
  name: {{ .Values.controllerManager.serviceAccountName | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{- /* Name of the Secret with the metrics' certificate, else empty. */}}
{{- define "kagenti-operator.metricsCertificate" -}}
{{- if and .Values.metrics.enable .Values.metrics.secure -}}
{{ .Values.metrics.certificateSecret | default "" }}
{{- end }}
{{- end }}
