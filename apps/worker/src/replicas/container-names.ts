import { berthLabels, type Labels } from '@berth/engine'

/** `owner` is the id of a replica or of a spare sandbox. */
export function sandboxName(installation: string, owner: string): string {
  return `berth-${installation}-${owner}-sandbox`
}

export function appName(installation: string, replica: string): string {
  return `berth-${installation}-${replica}-app`
}

/** The container that is made to be held, until it takes the app's place. */
export function heldName(installation: string, replica: string): string {
  return `berth-${installation}-${replica}-held`
}

/** The container whose place it took: it is kept for its log. */
export function pastName(installation: string, replica: string): string {
  return `berth-${installation}-${replica}-past`
}

export function networkName(installation: string, projectUid: string): string {
  return `berth-${installation}-${projectUid}`
}

export function volumeName(installation: string, uid: string): string {
  return `berth-${installation}-${uid}`
}

/** `replica` is the replica's id, on a spare sandbox the spare's: what a container's row is found by. */
export function containerLabels(about: {
  installation: string
  role: 'app' | 'sandbox'
  project: string
  replica: string
  service?: string
  revision?: string
}): Labels {
  return {
    [berthLabels.installation]: about.installation,
    [berthLabels.role]: about.role,
    [berthLabels.project]: about.project,
    [berthLabels.replica]: about.replica,
    ...(about.service === undefined ? {} : { [berthLabels.service]: about.service }),
    ...(about.revision === undefined ? {} : { [berthLabels.revision]: about.revision }),
  }
}

export function networkLabels(installation: string, project: string): Labels {
  return {
    [berthLabels.installation]: installation,
    [berthLabels.role]: 'network',
    [berthLabels.project]: project,
  }
}

export function volumeLabels(
  installation: string,
  { project, service }: { project: string; service: string },
): Labels {
  return {
    [berthLabels.installation]: installation,
    [berthLabels.role]: 'volume',
    [berthLabels.project]: project,
    [berthLabels.service]: service,
  }
}
