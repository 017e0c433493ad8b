import java.rmi.Remote;
import java.rmi.RemoteException;

/** What the server offers. */
public interface Counter extends Remote {
    /** Counts the call of this number, and tells the listener of every tenth before it returns how many there were. */
    int count(int number, Listener listener) throws RemoteException;

    /** How many calls there were, and how many different numbers they had. */
    String report() throws RemoteException;
}
