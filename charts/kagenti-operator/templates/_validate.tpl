{{- /* Refuses, with a sentence for each, what would silently do nothing, or collide. What each value may be by itself is
said by values.schema.json, which has no words for why two do not go together. */}}
{{- define "kagenti-operator.validate" -}}
{{- $metrics := .Values.metrics }}
{{- $prometheus := .Values.prometheus }}
{{- $grafana := .Values.grafanaDashboard | default dict }}
{{- $console := .Values.openshiftConsole | default dict }}
{{- $said := list }}
{{- if and (.Values.authbridge).enable (eq (int $metrics.port) 9443) }}
{{- $said = append $said "metrics.port is 9443, where the webhook of authbridge.enable is: take another" }}
{{- end }}
{{- if and $console.link (not .Values.mlflow.enable) }}
{{- $said = append $said "openshiftConsole.link is a link to MLflow, but mlflow.enable is false" }}
{{- end }}
{{- range $label, $_ := .Values.commonLabels }}
{{- if regexMatch "^(app\\.kubernetes\\.io/(name|instance|component|part-of|version|managed-by)|helm\\.sh/chart)$" $label }}
{{- $said = append $said (printf "commonLabels sets %s, which the chart sets itself" $label) }}
{{- end }}
{{- end }}
{{- if eq (int $metrics.port) 8081 }}
{{- $said = append $said "metrics.port is 8081, where the probes are: take another" }}
{{- end }}
{{- if not $metrics.enable }}
{{- range $name, $set := dict "prometheus.enable" $prometheus.enable "grafanaDashboard.enable" $grafana.enable "openshiftConsole.dashboard" $console.dashboard "metrics.certificateSecret" $metrics.certificateSecret "metrics.readers" $metrics.readers }}
{{- if $set }}
{{- $said = append $said (printf "%s is about metrics, but metrics.enable is false" $name) }}
{{- end }}
{{- end }}
{{- else if not $metrics.secure }}
{{- range $name, $set := dict "metrics.certificateSecret" $metrics.certificateSecret "metrics.readers" $metrics.readers "prometheus.tokenSecret" $prometheus.tokenSecret }}
{{- if $set }}
{{- $said = append $said (printf "%s is about HTTPS, but metrics.secure is false: metrics are served by plain HTTP to anybody" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $prometheus.tokenSecret (not $prometheus.enable) }}
{{- $said = append $said "prometheus.tokenSecret is for the ServiceMonitor, but prometheus.enable is false" }}
{{- end }}
{{- if and $metrics.readers (not .Values.rbac.enable) }}
{{- $said = append $said "metrics.readers are bound by the chart, but rbac.enable is false: bind them yourself" }}
{{- end }}
{{- $ours := include "kagenti-operator.labels" . | fromYaml }}
{{- range $name, $labels := dict "controllerManager.podLabels" .Values.controllerManager.podLabels "prometheus.labels" $prometheus.labels "grafanaDashboard.labels" $grafana.labels }}
{{- range $label, $_ := $labels }}
{{- if hasKey $ours $label }}
{{- $said = append $said (printf "%s sets %s, which is the chart's own" $name $label) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $said }}
{{- fail (printf "\n\n- %s\n" (join "\n- " $said)) }}
{{- end }}
{{- end }}
